"""Conversion of PPM, PGM and PBM files to binary 8-bit ones before decoding."""

import re

import numpy as np
from numpy.typing import NDArray

from .errors import Damaged, Unsupported
from .limits import Limits
from .prepared import Prepared

_MOST_HEADER = 1 << 16
_MOST_COMMENTS = 10_000
_PART = 1 << 20  # values scaled at a time
_NUMBER = re.compile(rb"(?:\s|#[^\r\n]*)*+(\d+)")
_COMMENT = re.compile(rb"#[^\r\n]*")


def prepare(data: bytes, limits: Limits) -> Prepared:
    """Rewrite the image with 8 bits per channel. Pillow reads text and other depths value by value, in Python."""
    kind = data[1:2]
    if kind in b"fF":
        raise Unsupported("a floating-point image; save it with 8 or 16 bits a channel")
    bitmap, plain, channels = kind in b"14", kind in b"123", 3 if kind in b"36" else 1
    numbers, position = [], 2
    for _ in range(2 if bitmap else 3):
        match = _NUMBER.match(data, position, _MOST_HEADER)
        if match is None or len(match[1]) > 9:
            raise Damaged("no size in its header")
        numbers.append(int(match[1]))
        position = match.end()
    width, height, largest = (*numbers, 1)[:3]
    if not 0 < largest < 65536 or not width or not height:
        raise Damaged(f"size {width}x{height} with values up to {largest}")
    count = width * height * channels
    limits.check_size(width, height)
    # Of text files the numbers and their text; of binary ones the pixels, twice.
    limits.check_memory(len(data) + count * (24 if plain else 2))
    if plain:
        values = _from_text(data[position:], count, largest, bitmap=bitmap)
    elif bitmap or largest == 255:
        head = b"P4\n%d %d\n" if bitmap else b"P%c\n%%d %%d\n255\n" % kind
        return Prepared("PPM", head % (width, height) + data[position + 1 :], (width, height))
    else:
        depth = np.dtype(">u2") if largest > 255 else np.dtype(np.uint8)
        if len(data) - position - 1 < count * depth.itemsize:
            raise Damaged("ends within its pixels")
        values = np.frombuffer(data, depth, count, position + 1)
    head = b"P%d\n%d %d\n255\n" % (6 if channels == 3 else 5, width, height)
    return Prepared("PPM", head + _scaled(values, largest).tobytes(), (width, height))


def _from_text(text: bytes, count: int, largest: int, *, bitmap: bool) -> NDArray[np.integer]:
    if text.count(b"#") > _MOST_COMMENTS:
        raise Damaged(f"more than {_MOST_COMMENTS} comments among its pixels")
    text = _COMMENT.sub(b"", text)
    if bitmap:  # digits without spaces between them, 1 for black
        digits = text.translate(None, b" \t\n\r\v\f")[:count]
        if len(digits) < count or digits.strip(b"01"):
            raise Damaged("ends within its pixels, or has other values than 0 and 1")
        return 49 - np.frombuffer(digits, np.uint8)
    if text.translate(None, b"0123456789 \t\n\r\v\f"):
        raise Damaged("text other than numbers in its pixels")
    values = np.fromstring(text.decode("ascii"), np.int64, sep=" ")[:count]
    if len(values) < count or values.max() > largest:
        raise Damaged(f"ends within its pixels, or has values above {largest}")
    return values


def _scaled(values: NDArray[np.integer], largest: int) -> NDArray[np.uint8]:
    """Return the values in 8 bits. 16-bit values keep their upper byte, as in other formats."""
    steps = np.arange(largest + 1)
    table = (steps >> 8 if largest == 65535 else (steps * 255 + largest // 2) // largest).astype(np.uint8)
    scaled = np.empty(len(values), np.uint8)
    for start in range(0, len(values), _PART):
        part = slice(start, start + _PART)
        scaled[part] = table[np.minimum(values[part], largest)]
    return scaled

"""BMP, GIF, WebP, TGA, PPM, PGM and PBM files before decoding."""

import re
import struct

import numpy as np
from numpy.typing import NDArray

from .base import Damaged, Limits, Prepared, TooLarge, Unsupported

# BMP
_RLE8, _RLE4 = 1, 2
_MOST_RLE_PIXELS = 4_000_000  # Pillow decodes run lengths in Python

# GIF
_MOST_BLOCKS = 1_000_000  # before the first frame
_EXTENSION, _FRAME = 0x21, 0x2C
_GRAPHIC_CONTROL = 0xF9

# WebP: the canvas twice, for animations, and once as bytes; Pillow's image; the lossless decoder's own.
_PIXEL_BYTES = 18.0
_HUFFMAN_BYTES = 400_000_000  # for 65,536 groups of Huffman codes, the limit of a lossless image

# PPM
_MOST_HEADER = 1 << 16
_MOST_COMMENTS = 10_000
_PART = 1 << 20  # values scaled at a time
_NUMBER = re.compile(rb"(?:\s|#[^\r\n]*)*+(\d+)")
_COMMENT = re.compile(rb"#[^\r\n]*")


def prepare_bmp(data: bytes) -> Prepared:
    """Limit the size of run-length encoded images and reject files that Pillow decodes wrong."""
    header, compression = int.from_bytes(data[14:18], "little"), int.from_bytes(data[30:34], "little")
    width, height = (abs(int.from_bytes(data[i : i + 4], "little", signed=True)) for i in (18, 22))
    if header < 40:
        width, height, compression = *(int.from_bytes(data[i : i + 2], "little") for i in (18, 20)), 0
    if compression == _RLE4:
        raise Unsupported("a BMP with 4-bit run lengths is not supported; save it as PNG")
    if compression == _RLE8 and width * height > _MOST_RLE_PIXELS:
        raise TooLarge(
            f"expected at most {_MOST_RLE_PIXELS // 10**6} million pixels in a BMP with run lengths, got"
            f" {width}x{height}; save it as PNG"
        )
    return Prepared("BMP", data, (width, height))


def prepare_gif(data: bytes) -> Prepared:
    """Return the first frame without the comments and other extensions before it."""
    if len(data) < 13:
        raise Damaged("ends within its header")
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    position = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    parts = [data[:position]]
    control = b""
    for _ in range(_MOST_BLOCKS):
        block = data[position : position + 10]
        if not block:
            break
        if block[0] == _FRAME and len(block) == 10:
            left, top, frame_width, frame_height = (int.from_bytes(block[i : i + 2], "little") for i in (1, 3, 5, 7))
            # A frame larger than the logical screen enlarges it.
            size = max(width, left + frame_width), max(height, top + frame_height)
            return Prepared("GIF", b"".join([*parts, control, memoryview(data)[position:]]), size, pixel_bytes=2.0)
        if block[0] == _EXTENSION:
            start, position = position, position + 2
            while position < len(data) and data[position]:
                position += 1 + data[position]
            position += 1
            if block[1:2] == bytes([_GRAPHIC_CONTROL]):
                control = data[start:position]
        else:
            position += 1  # padding
    raise Damaged("no frame")


def prepare_webp(data: bytes) -> Prepared:
    """Read the size of the canvas, which the decoder allocates before Pillow can check it."""
    kind, head = data[12:16], data[20:30]
    if len(head) < 10:
        raise Damaged("ends within its header")
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[i : i + 3], "little") + 1 for i in (4, 7))
    elif kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", head, 1)
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", head, 6))
    else:
        raise Damaged("no image")
    return Prepared("WEBP", data, (width, height), _PIXEL_BYTES, extra_bytes=0 if kind == b"VP8 " else _HUFFMAN_BYTES)


def prepare_tga(data: bytes) -> Prepared:
    """Read the size from the header."""
    width, height = struct.unpack_from("<HH", data, 12)
    return Prepared("TGA", data, (width, height))


def prepare_ppm(data: bytes, limits: Limits) -> Prepared:
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

"""Reduction of TIFF files to the needed tags before decoding, and checks of their strips and tiles."""

import struct
from dataclasses import dataclass
from math import ceil

from .base import Damaged, Limits, Prepared, TooLarge, Unsupported

_MOST_ENTRIES = 4096
_MOST_SAMPLES = 6  # Pillow's limit
_MOST_BLOCKS = 1 << 18  # strips or tiles
_MOST_VALUE = 1 << 20  # bytes of a tag, except offsets and sizes of blocks
_LARGEST_TILE = 4096 * 4096  # pixels, for smaller images
_SLACK = 1 << 26  # bytes that may be shared between blocks

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES, _PLANAR = 273, 274, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
_SUBFILE, _EXTRA, _SAMPLE_FORMAT = 254, 338, 339
# Tags needed for the pixels. The numbers: fax options, predictor, palette, extra samples, JPEG tables, YCbCr.
_NEEDED = frozenset(
    {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _STRIP_OFFSETS, _ORIENTATION, _SAMPLES}
    | {_ROWS_PER_STRIP, _STRIP_SIZES, _PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES, _SAMPLE_FORMAT}
    | {292, 293, 317, 320, 332, _EXTRA, 347, *range(512, 522), 529, 530, 531, 532}
)
_BLOCKS = frozenset({_STRIP_OFFSETS, _STRIP_SIZES, _TILE_OFFSETS, _TILE_SIZES})
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # of tag types
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

_RAW = 1
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _YCBCR, _LAB = 0, 1, 6, 8
_PHOTOMETRICS = {0: "gray", 1: "gray", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab", 32803: "raw camera"}
_GRAY = (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
_ALPHA = ((1,), (2,))  # extra samples, premultiplied or not
_UNSIGNED = 1
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}


@dataclass(frozen=True)
class _Entry:
    """Directory entry: a tag and its values.

    Attributes
    ----------
    raw : bytes
        The entry's bytes in the directory.
    kind, count : int
        Type and number of the values.
    values : bytes
    """

    raw: bytes
    kind: int
    count: int
    values: memoryview


class _Directory:
    """First directory of a TIFF file, with only the tags that its pixels need."""

    def __init__(self, data: bytes) -> None:
        self.order = "<" if data[:2] == b"II" else ">"
        self.big = data[2:4] in (b"+\0", b"\0+")
        self.entry = f"{self.order}HHQ8s" if self.big else f"{self.order}HHI4s"
        self.pointer, self.inline = ("Q", 8) if self.big else ("I", 4)
        self.entries: dict[int, _Entry] = {}
        try:
            self._read(data)
        except struct.error:
            raise Damaged("ends within its header") from None

    def _read(self, data: bytes) -> None:
        (start,) = struct.unpack_from(self.order + self.pointer, data, 8 if self.big else 4)
        count_format = self.order + ("Q" if self.big else "H")
        (count,) = struct.unpack_from(count_format, data, start)
        if count > _MOST_ENTRIES:
            raise Damaged(f"{count} tags")
        position, size = start + struct.calcsize(count_format), struct.calcsize(self.entry)
        for at in range(position, position + count * size, size):
            tag, kind, number, value = struct.unpack_from(self.entry, data, at)
            if (tag not in _NEEDED and tag != _SUBFILE) or tag in self.entries or kind not in _TYPE_SIZES:
                continue
            length = number * _TYPE_SIZES[kind]
            if length > self.inline:
                (place,) = struct.unpack(self.order + self.pointer, value)
                values = memoryview(data)[place : place + length]
            else:
                values = memoryview(value)[:length]
            if len(values) < length or (length > _MOST_VALUE and tag not in _BLOCKS):
                raise Damaged(f"a tag {tag} of {length} bytes")
            self.entries[tag] = _Entry(data[at : at + size], kind, number, values)

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return a tag's values."""
        entry = self.entries.get(tag)
        if entry is None or not entry.count:
            return default
        if entry.kind not in _NUMBERS:
            raise Damaged(f"a tag {tag} of type {entry.kind}")
        return struct.unpack(f"{self.order}{entry.count}{_NUMBERS[entry.kind]}", entry.values)

    def number(self, tag: int, default: int = 0) -> int:
        """Return a tag's first value."""
        return self.numbers(tag, (default,))[0]

    def shorten(self, tag: int, count: int) -> None:
        """Drop the values of a tag beyond the first `count`."""
        entry = self.entries[tag]
        values = entry.values[: count * _TYPE_SIZES[entry.kind]]
        value = entry.raw[-self.inline :] if len(values) > self.inline else bytes(values).ljust(self.inline, b"\0")
        self._set(tag, entry.kind, count, value, values)

    def replace(self, tag: int, value: int) -> None:
        """Set a tag to a LONG."""
        values = struct.pack(f"{self.order}I", value)
        self._set(tag, 4, 1, values.ljust(self.inline, b"\0"), memoryview(values))

    def _set(self, tag: int, kind: int, count: int, value: bytes, values: memoryview) -> None:
        self.entries[tag] = _Entry(struct.pack(self.entry, tag, kind, count, value), kind, count, values)

    def appended(self, data: bytes) -> bytes:
        """Return the file with this directory appended as the only one."""
        start = len(data) + len(data) % 2
        header = data[:8] if self.big else data[:4]
        count = struct.pack(self.order + ("Q" if self.big else "H"), len(self.entries))
        entries = (self.entries[tag].raw for tag in sorted(self.entries))
        pointer = struct.pack(self.order + self.pointer, start)
        none = struct.pack(self.order + self.pointer, 0)
        body = memoryview(data)[len(header) + len(pointer) :]
        return b"".join([header, pointer, body, b"\0" * (start - len(data)), count, *entries, none])


def prepare(data: bytes, limits: Limits) -> Prepared:
    """Return the needed tags, limit the strips or tiles, and reject files that Pillow decodes wrong."""
    tags = _Directory(data)
    if tags.big and tags.order == ">":
        raise Unsupported("a big-endian BigTIFF is not supported; save it as TIFF or little-endian")
    width, height = tags.number(_WIDTH), tags.number(_HEIGHT)
    if not width or not height:
        raise Damaged("no size in its header")
    limits.check_size(width, height)
    if tags.number(_SUBFILE) & 1:
        raise Unsupported("a camera's raw file, or a TIFF whose first image is a thumbnail; convert it to JPEG first")
    planar, photometric = tags.number(_PLANAR, 1) == 2, tags.number(_PHOTOMETRIC)
    if planar and photometric not in _GRAY:
        _drop_extra_planes(tags)
    samples, bits = tags.number(_SAMPLES, 1), max(tags.numbers(_BITS, (1,)))
    compression = tags.number(_COMPRESSION, _RAW)
    formats = tags.numbers(_SAMPLE_FORMAT, (_UNSIGNED,))
    kind = (
        "expected a TIFF of gray, RGB, Lab or CMYK with 8 or 16 unsigned bits a channel, got"
        f" {samples} {'channel' if samples == 1 else 'channels'} of {bits} {_FORMATS.get(max(formats), 'other')} bits"
        f" ({_PHOTOMETRICS.get(photometric, f'photometric {photometric}')}, compression {compression});"
        " save it as one of these"
    )
    bands = photometric in _GRAY and samples > 1 and tags.numbers(_EXTRA) not in _ALPHA
    if set(formats) != {_UNSIGNED} or bits > 16 or samples > _MOST_SAMPLES or bands:
        raise Unsupported(kind)
    if planar and (samples == 2 or photometric == _LAB):
        raise Unsupported(
            f"{kind.removesuffix('; save it as one of these')}, in planes; save it with the channels side by side"
        )
    planes = samples if planar else 1
    row_bits = bits * samples // planes if compression == _RAW else 0
    pixels = _bound_blocks(tags, width, height, planes, row_bits, len(data))
    tags.entries.pop(_SUBFILE, None)
    gray16 = samples == 1 and bits > 8
    inverted = gray16 and photometric == _WHITE_IS_ZERO
    if inverted:  # Pillow does not invert 16 bits, and supports one byte order
        tags.replace(_PHOTOMETRIC, _BLACK_IS_ZERO)
    # Pillow's own reader mistakes planes of 16 bits for 8, and YCbCr for RGB.
    through_libtiff = compression != _RAW or (planar and bits == 16) or photometric == _YCBCR
    return Prepared(
        "TIFF",
        tags.appended(data),
        (width, height),
        extra_bytes=pixels * max(samples * bits // 8, 4) // planes,
        kind=kind,
        shift=bits - 8 if gray16 else 8,
        inverted=inverted,
        through_libtiff=through_libtiff and compression == _RAW,
        # libtiff prints errors and continues after some. Headers of JPEG strips limit neither memory nor time.
        isolated=through_libtiff,
    )


def _drop_extra_planes(tags: _Directory) -> None:
    """Drop planes that are neither color nor alpha, which Pillow counts incorrectly."""
    extra = tags.numbers(_EXTRA)
    if extra and not any(extra):
        samples = max(tags.number(_SAMPLES, 1) - len(extra), 1)
        tags.replace(_SAMPLES, samples)
        del tags.entries[_EXTRA]
        for tag in (_BITS, _SAMPLE_FORMAT):
            if len(tags.numbers(tag)) > samples:
                tags.shorten(tag, samples)


def _bound_blocks(tags: _Directory, width: int, height: int, planes: int, raw_bits: int, file_size: int) -> int:
    """Drop unneeded strips or tiles. Raise an error if there are too many, or one is too large or beyond the file.

    Parameters
    ----------
    tags : _Directory
    width, height, planes : int
    raw_bits : int
        Bits per pixel in one plane; 0 if compressed.
    file_size : int

    Returns
    -------
    int
        Pixels per strip or tile.
    """
    tiled = _TILE_OFFSETS in tags.entries
    if tiled == (_STRIP_OFFSETS in tags.entries):
        raise Damaged("both strips and tiles" if tiled else "neither strips nor tiles")
    if tiled:
        across, down = tags.number(_TILE_WIDTH), tags.number(_TILE_HEIGHT)
        if not across or not down:
            raise Damaged("tiles without a size")
        if across * down > max(_LARGEST_TILE, (width + 15) * (height + 15)):
            raise TooLarge(f"expected tiles of about the image's size, {width}x{height}, got {across}x{down}")
    else:
        across, down = width, min(tags.number(_ROWS_PER_STRIP, height), height)
        if not down:
            raise Damaged("strips without rows")
        tags.replace(_ROWS_PER_STRIP, down)
    in_plane = ceil(width / across) * ceil(height / down)
    count = in_plane * planes
    if count > _MOST_BLOCKS:
        raise TooLarge(f"expected at most {_MOST_BLOCKS} strips or tiles, got {count}; save it with larger ones")
    places, sizes = (_TILE_OFFSETS, _TILE_SIZES) if tiled else (_STRIP_OFFSETS, _STRIP_SIZES)
    for tag in (places, sizes):
        if tag in tags.entries:
            if tags.entries[tag].count < count:
                raise Damaged(f"{tags.entries[tag].count} strips or tiles of {count}")
            tags.shorten(tag, count)
    lengths = tags.numbers(sizes, (0,) * count)
    if raw_bits:
        last = down if tiled else height - down * (in_plane - 1)
        whole, short = (rows * ((across * raw_bits + 7) // 8) for rows in (down, last))
        lengths = (*(whole,) * (in_plane - 1), short) * planes
    elif sum(lengths) > file_size + _SLACK:
        raise Damaged(f"strips or tiles of {sum(lengths)} bytes in a file of {file_size}")
    # The directory appended at the end must not be read as pixels.
    if any(place + length > file_size for place, length in zip(tags.numbers(places), lengths, strict=True)):
        raise Damaged("ends within its pixels")
    return across * down

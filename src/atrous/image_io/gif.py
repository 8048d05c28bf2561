"""Reduction of GIF files to their first frame before decoding."""

from .errors import Damaged
from .prepared import Prepared

_MOST_BLOCKS = 1_000_000  # before the first frame
_EXTENSION, _FRAME = 0x21, 0x2C
_GRAPHIC_CONTROL = 0xF9


def prepare(data: bytes) -> Prepared:
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

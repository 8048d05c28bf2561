"""Checks of WebP files before decoding."""

import struct

from .errors import Damaged
from .prepared import Prepared

# Two canvases for animations and one copy as bytes, Pillow's image, and the lossless decoder's buffers.
_PIXEL_BYTES = 18.0
_HUFFMAN_BYTES = 400_000_000  # for 65,536 groups of Huffman codes, the limit of a lossless image


def prepare(data: bytes) -> Prepared:
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

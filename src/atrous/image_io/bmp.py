"""Checks of BMP files before decoding."""

from .errors import TooLarge, Unsupported
from .prepared import Prepared

_RLE8, _RLE4 = 1, 2
_MOST_RLE_PIXELS = 4_000_000  # Pillow decodes run lengths in Python


def prepare(data: bytes) -> Prepared:
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

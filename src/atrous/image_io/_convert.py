"""Conversion of decoded images of any mode to RGB."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .base import Unsupported

_BAND = 4_000_000  # pixels converted at a time, to save a third copy of a large image

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_rgb(
    image: Image.Image,
    *,
    orientation: int = 1,
    shift: int = 8,
    inverted: bool = False,
    transparent: int | None = None,
) -> NDArray[np.uint8]:
    """Return an image's pixels in RGB, upright, with transparent pixels on white.

    Parameters
    ----------
    image : PIL image
    orientation : int
        EXIF orientation, 1 to 8.
    shift : int
        Number of bits of the 16-bit gray values, minus 8.
    inverted : bool
        Whether the lowest gray value is white.
    transparent : int, optional
        The transparent gray value.

    Returns
    -------
    (H, W, 3) uint8

    Raises
    ------
    Unsupported
        If the image has floating-point values, integers of more than 16 bits or no colors.
    """
    if image.mode == "F":
        raise Unsupported("a floating-point image; save it with 8 or 16 bits a channel")
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    width, height = image.size
    rows = max(1, _BAND // width)
    if rows >= height:
        return _band(image, shift, inverted, transparent)
    rgb = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        rgb[top:bottom] = _band(image.crop((0, top, width, bottom)), shift, inverted, transparent)
    return rgb


def _band(image: Image.Image, shift: int, inverted: bool, transparent: int | None) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        # Pillow's own conversion to 8 bits would clip at 255 instead of scaling.
        gray = np.asarray(image)
        if gray.min() < 0 or gray.max() > 65535:
            raise Unsupported(
                f"gray values from {gray.min()} to {gray.max()}; expected at most 16 unsigned bits a pixel"
            )
        eight = (gray >> shift).astype(np.uint8)
        if inverted:
            eight = 255 - eight
        if transparent is not None:
            eight[gray == transparent] = 255
        return np.repeat(eight[..., None], 3, axis=2)
    try:
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            white = Image.new("RGBA", rgba.size, "white")
            return np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except ValueError:
        raise Unsupported(f"expected an image in gray, RGB or CMYK, got mode {image.mode}; convert it") from None

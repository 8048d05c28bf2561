"""Uploads to arrays, bounded before they are decoded."""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..data.images import read_image
from .refused import Refused, refusing

LONGEST_JPEG = 65500  # pixels a side, of the library that writes them
# What cameras, phones and screenshots make; Pillow's readers that call other programs stay out.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM")


def check_picture(image: Image.Image, name: str, max_pixels: int) -> None:
    """Raise Refused (413) if a picture that is opened, but not decoded, has too many pixels."""
    width, height = image.size
    if width * height > max_pixels:
        raise Refused(
            413,
            f"{name}: {width}x{height} are {_mega(width * height)} megapixels, taken are up to {_mega(max_pixels)};"
            " scale the picture down first",
        )


def check_overlay(image: NDArray[np.uint8], name: str) -> None:
    """Raise Refused (422) if a photo (H, W, 3) is too long for an overlay of it."""
    height, width, _ = image.shape
    if max(height, width) > LONGEST_JPEG:
        raise Refused(
            422,
            f"{name}: {width}x{height} pixels; an overlay, a JPEG, has {LONGEST_JPEG} a side at most, so take png or"
            " json",
        )


def read_picture(file: BinaryIO | Path, name: str, max_pixels: int) -> NDArray[np.uint8]:
    """Decode a photo that somebody uploaded.

    Parameters
    ----------
    file : file or Path
    name : str
        What its owner calls it.
    max_pixels : int

    Returns
    -------
    (H, W, 3) uint8
        RGB, upright.

    Raises
    ------
    Refused
        415 if it is no picture, 413 if it is too large, 422 if it is damaged.
    """
    with open_picture(file, name, max_pixels) as image, refusing():
        try:
            return read_image(image)
        except MemoryError:
            raise
        except Exception as error:  # read_image calls what has no name "image"
            raise Refused(422, f"{name}: {str(error).removeprefix('image: ')}") from None


def open_picture(file: BinaryIO | Path, name: str, max_pixels: int) -> Image.Image:
    """Open a picture and check its header; nothing is decoded. Raises as `read_picture` does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd tags; of many pixels we say more below
            image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise Refused(415, f"{name}: no picture; expected a JPEG, PNG, WebP, AVIF, TIFF, GIF or BMP file") from None
    except Image.DecompressionBombError:
        raise Refused(413, f"{name}: too many pixels, taken are up to {_mega(max_pixels)} million") from None
    except FileNotFoundError:
        raise Refused(415, f"{name}: no longer here, uploads are kept for an hour; drop it again") from None
    except Exception as error:  # on damaged headers Pillow's readers raise nearly anything
        raise Refused(415, f"{name}: no picture that can be read ({_line(error)})") from None
    check_picture(image, name, max_pixels)
    return image


def _mega(pixels: int) -> str:
    return f"{pixels / 1e6:.3g}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

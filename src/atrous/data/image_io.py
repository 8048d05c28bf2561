"""Any image as (H, W, 3) uint8 RGB."""

import os
import warnings
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ..errors import InputError
from ..image_io.convert import to_rgb
from ..image_io.decode import read_rgb
from ..image_io.errors import Unsupported

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".jp2", ".ppm", ".pgm"}
)

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v"})

Photo: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]


def read_image(photo: Photo) -> NDArray[np.uint8]:
    """Decode a photo.

    Parameters
    ----------
    photo : path, PIL image or (H, W, 3) uint8 array
        The orientation that a camera noted (EXIF) is applied. Gray pictures get three equal channels, 16-bit
        ones are scaled to 8 bits, CMYK is converted, transparent pixels are laid on white. Of animations the
        first frame is taken. An array is taken as RGB and returned as it is.

    Returns
    -------
    (H, W, 3) uint8
        Red, green, blue.

    Raises
    ------
    InputError
        If the file is missing, no picture or damaged, or an array has another shape or type.
    """
    if isinstance(photo, np.ndarray):
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or photo.size == 0:
            raise InputError(
                f"image: expected (H, W, 3) uint8 RGB, got shape {photo.shape} {photo.dtype}; {_remedy(photo)}"
            )
        return photo
    if isinstance(photo, Image.Image):
        try:
            photo.load()
        except Exception as error:
            raise InputError(f"image: cannot be decoded ({' '.join(str(error).split())})") from None
        try:
            return to_rgb(photo, orientation=_orientation(photo))
        except Unsupported as error:
            raise InputError(f"image: {error}") from None
    if not isinstance(photo, (str, os.PathLike)):
        got = " ".join(repr(photo).split())
        raise InputError(f"image: expected a path, a PIL image or an (H, W, 3) uint8 array, got {got:.80}")
    return read_rgb(photo)


def _remedy(photo: NDArray[Any]) -> str:
    """Say what makes of an array one that is taken."""
    if photo.size == 0:
        return "it is empty"
    if photo.ndim == 3 and photo.shape[0] == 3 and photo.shape[2] != 3:
        return "image.transpose(1, 2, 0) puts the channels last"
    if photo.dtype == np.uint8 and (photo.ndim == 2 or photo.shape[2:] == (4,)):
        return "PIL.Image.fromarray(image) is taken"
    if photo.ndim != 3 or photo.shape[2] != 3:
        return "give it three channels, the last axis"
    if np.issubdtype(photo.dtype, np.floating):
        return "(image * 255).round().astype(np.uint8) if it goes from 0 to 1"
    return "image.astype(np.uint8) if it goes from 0 to 255"


def _orientation(image: Image.Image) -> int:
    # A damaged note of the orientation does not spoil the image.
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1

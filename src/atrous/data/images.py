"""Any photo as (H, W, 3) uint8 RGB."""

import os
import warnings
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from ..errors import InputError
from ..palette.decoding import decoded

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
        The orientation that a camera noted (EXIF) is applied. Grey pictures get three equal channels, 16-bit
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
        return _rgb(photo, "image")
    if not isinstance(photo, (str, os.PathLike)):
        got = " ".join(repr(photo).split())
        raise InputError(f"image: expected a path, a PIL image or an (H, W, 3) uint8 array, got {got:.80}")
    return _rgb(decoded(photo), os.fspath(photo))


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


def _rgb(image: Image.Image, source: str) -> NDArray[np.uint8]:
    # A damaged note of the orientation does not spoil the picture. Without a note nothing is turned nor copied.
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # 16-bit grey; Pillow's own conversion to 8 bits would clip at 255, not scale.
        grey = np.asarray(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise InputError(f"{source}: grey values reach {grey.max()}; expected at most 16 bits a pixel")
        return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise InputError(f"{source}: a floating-point picture; save it with 8 or 16 bits a channel")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return np.asarray(Image.alpha_composite(white, rgba).convert("RGB"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))

"""Decoding of prepared images with Pillow."""

import io
import warnings
from contextlib import AbstractContextManager, nullcontext

from PIL import Image, ImageFile, UnidentifiedImageError

from .base import Damaged, Limits, Prepared, TooLarge, Unsupported, orientation_of

_ARRAY_BYTES = 7  # per pixel: Pillow's image and the array


def decode_prepared(prepared: Prepared, limits: Limits) -> tuple[Image.Image, int]:
    """Decode an image in this process.

    Returns
    -------
    image : PIL image
    orientation : int
        EXIF orientation, 1 to 8, not yet applied.

    Raises
    ------
    Damaged, TooLarge, Unsupported, MemoryError
    """
    try:
        with _quiet(prepared):
            image = _open(prepared, limits)
            # The metadata of formats that are not reduced.
            orientation = orientation_of(image.info.get("exif"), image.info.get("xmp"))
            image.decodermaxblock = len(prepared.data)  # read in one block, without a copy
            image.load()
        if image.mode in ("P", "PA") and image.palette is None:
            raise Damaged("no palette")
    except (Damaged, TooLarge, Unsupported, MemoryError):
        raise
    except Image.DecompressionBombError:  # the caller has set a lower limit in Pillow
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise TooLarge(f"expected at most {limit:.4g} million pixels; scale the image down first") from None
    except Exception as error:  # Pillow's readers raise many types of errors
        raise Damaged(" ".join(str(error).split())[:200] or type(error).__name__) from error
    return image, prepared.orientation if orientation == 1 else orientation


def _open(prepared: Prepared, limits: Limits) -> ImageFile.ImageFile:
    """Let Pillow read the header, and check the image's size and the memory for decoding."""
    try:
        if prepared.through_libtiff:  # only in a decoder process, as the switch is global
            from PIL import TiffImagePlugin

            TiffImagePlugin.READ_LIBTIFF = True
        if prepared.format == "HEIF":
            from pillow_heif import register_heif_opener

            # One thread, because the limit on processor time counts all.
            register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
        image = Image.open(io.BytesIO(prepared.data), formats=(prepared.format,))
    except UnidentifiedImageError:
        if prepared.kind:
            raise Unsupported(prepared.kind) from None
        raise Damaged("its header") from None
    width, height = image.size
    limits.check_size(width, height)
    pixel_bytes = max(prepared.pixel_bytes, _ARRAY_BYTES)
    limits.check_memory(int(width * height * pixel_bytes) + prepared.extra_bytes + len(prepared.data))
    return image


def _quiet(prepared: Prepared) -> AbstractContextManager[object]:
    """Return a context that suppresses Pillow's warnings about odd tags and about half of its pixel limit."""
    width, height = prepared.size
    if prepared.format != "TIFF" and width * height <= (Image.MAX_IMAGE_PIXELS or width * height):
        return nullcontext()  # filters are global, so they are set only if a warning is possible
    return warnings.catch_warnings(action="ignore")

"""Prepared images through Pillow's decoders."""

import io
import warnings
from contextlib import AbstractContextManager, nullcontext

from PIL import Image, ImageFile, UnidentifiedImageError

from .base import Damaged, Limits, Prepared, TooLarge, Unsupported, orientation_of

_ARRAY_BYTES = 7  # for each pixel: Pillow's image and the array made of it


def decode_prepared(prepared: Prepared, limits: Limits) -> tuple[Image.Image, int]:
    """Decode an image in this process.

    Returns
    -------
    image : PIL image
    orientation : int
        EXIF's, 1 to 8, that is still to be applied.

    Raises
    ------
    Damaged, TooLarge, Unsupported, MemoryError
    """
    try:
        with _quiet(prepared):
            image = _open(prepared, limits)
            # Formats that are not stripped of their metadata bring it here.
            orientation = orientation_of(image.info.get("exif"), image.info.get("xmp"))
            image.decodermaxblock = len(prepared.data)  # one block, which is not copied
            image.load()
        if image.mode in ("P", "PA") and image.palette is None:
            raise Damaged("no palette")
    except (Damaged, TooLarge, Unsupported, MemoryError):
        raise
    except Image.DecompressionBombError:  # the caller allows fewer pixels than `limits`
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise TooLarge(f"expected at most {limit:.4g} million pixels; scale the image down first") from None
    except Exception as error:  # on damaged files Pillow's readers raise nearly anything
        raise Damaged(" ".join(str(error).split())[:200] or type(error).__name__) from error
    return image, prepared.orientation if orientation == 1 else orientation


def _open(prepared: Prepared, limits: Limits) -> ImageFile.ImageFile:
    """Let Pillow read the header, and check the size that it finds and the memory that decoding takes."""
    try:
        if prepared.through_libtiff:  # in a decoder process: the switch is Pillow's only one
            from PIL import TiffImagePlugin

            TiffImagePlugin.READ_LIBTIFF = True
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
    """Return a context without Pillow's warnings of odd tags and of half as many pixels as it refuses."""
    width, height = prepared.size
    if prepared.format != "TIFF" and width * height <= (Image.MAX_IMAGE_PIXELS or width * height):
        return nullcontext()  # the filters belong to all threads: they are left alone where nothing is to be expected
    return warnings.catch_warnings(action="ignore")

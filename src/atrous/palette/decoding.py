"""Opening a picture file, with one line for whatever may be wrong with it."""

import os
import warnings
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from atrous.errors import InputError

_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


def decoded(path: str | os.PathLike[str]) -> Image.Image:
    """Open and decode the first picture of a file, pixels as they are stored.

    Raises
    ------
    InputError
        The file is missing, a folder, no picture, damaged, cut short, or larger than Pillow's limit
        of about 179 million pixels.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            # Of odd tags, and of more than 89 million pixels, which cameras reach; twice as many it refuses.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                image.load()
                return image
    except UnidentifiedImageError:
        raise InputError(f"{path}: {_content(path)}; expected a JPEG, PNG, TIFF, WebP or similar file") from None
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise InputError(f"{path}: more than {limit} million pixels; scale the picture down first") from None
    except MemoryError:
        raise InputError(f"{path}: not enough memory to decode it; scale the picture down first") from None
    except Exception as error:  # on damaged files Pillow's readers raise nearly anything
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(f"{path}: {error.strerror or error}") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: damaged or cut short ({reason}); fetch or export the file again") from None


def _content(path: Path) -> str:
    """Say what a file holds that is no picture known here."""
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        return "the file is empty"
    if head[4:8] == b"ftyp" and head[8:] in _HEIC:
        return "a HEIC picture, as telephones take them, which cannot be read here; convert it first"
    return "not a picture in a format known here"

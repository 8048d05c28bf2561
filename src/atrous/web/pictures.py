"""Uploads to arrays, bounded before they are decoded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..image_io.base import ImageTooLargeError, Limits, UnknownFormatError
from ..image_io.decode import read_rgb, stored_size
from .refused import Refused


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
    with _refusing(file, name):
        return read_rgb(file, name, limits=Limits(pixels=max_pixels))


def check_mask(file: Path, name: str, max_pixels: int) -> None:
    """Check the header of an index PNG; nothing is decoded. Raises as `read_picture` does."""
    with _refusing(file, name):
        stored_size(file, name, limits=Limits(pixels=max_pixels), formats=("PNG",))


@contextmanager
def _refusing(file: BinaryIO | Path, name: str) -> Iterator[None]:
    try:
        yield
    except UnknownFormatError as error:
        raise Refused(415, str(error)) from None
    except ImageTooLargeError as error:
        raise Refused(413, str(error)) from None
    except InputError as error:
        if isinstance(file, Path) and not file.exists():
            raise Refused(415, f"{name}: no longer here, uploads are kept for an hour; drop it again") from None
        raise Refused(422, str(error)) from None

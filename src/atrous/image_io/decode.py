"""Image decoding with limits, for every command that reads image files."""

import io
import os
import stat
import struct
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from ..errors import InputError
from . import _jpeg, _png, _tiff
from ._convert import to_rgb
from ._formats import HEAD, format_of, reads_heif
from ._other_formats import prepare_bmp, prepare_gif, prepare_ppm, prepare_tga, prepare_webp
from ._pillow import decode_prepared
from .base import Damaged, ImageError, ImageTooLargeError, Limits, Prepared, TooLarge, Unsupported
from .process import can_isolate, decode_isolated

Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO

DEFAULT_LIMITS = Limits()

_PREPARE: dict[str, Callable[[bytes, Limits], Prepared]] = {
    "JPEG": lambda data, _: _jpeg.prepare(data),
    "PNG": lambda data, _: _png.prepare(data),
    "GIF": lambda data, _: prepare_gif(data),
    "WEBP": lambda data, _: prepare_webp(data),
    "BMP": lambda data, _: prepare_bmp(data),
    "PPM": prepare_ppm,
    "TGA": lambda data, _: prepare_tga(data),
    "TIFF": _tiff.prepare,
    # Headers of these formats limit neither memory nor time (hidden frames, precincts, layers). The bytes are measured.
    "AVIF": lambda data, _: Prepared("AVIF", data, pixel_bytes=14, isolated=True),
    "HEIF": lambda data, _: Prepared("HEIF", data, pixel_bytes=14, isolated=True),
    "JPEG2000": lambda data, _: Prepared("JPEG2000", data, pixel_bytes=24, isolated=True),
}


IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".gif",
        ".avif",
        *([".heic", ".heif"] if reads_heif() else []),
        ".jp2",
        ".j2k",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".tga",
    ]
)
VIDEO_SUFFIXES = frozenset(
    [".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts", ".mts", ".m2ts"]
)
ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[np.uint8]


@dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Attributes
    ----------
    image : PIL image
        The first frame, with its pixels as stored.
    stored : Prepared
        Its properties.
    """

    image: Image.Image
    stored: Prepared

    def rgb(self) -> NDArray[np.uint8]:
        """Return the pixels as (H, W, 3) uint8 RGB, upright, with transparent pixels on white."""
        stored = self.stored
        return to_rgb(
            self.image,
            orientation=stored.orientation,
            shift=stored.shift,
            inverted=stored.inverted,
            transparent=stored.transparent,
        )


def decode(
    source: Source,
    name: str | None = None,
    *,
    limits: Limits = DEFAULT_LIMITS,
    formats: Collection[str] | None = None,
    isolated: bool = False,
) -> Decoded:
    """Decode the first frame of an image.

    Parameters
    ----------
    source : path, bytes or binary file
        A binary file is read from its current position.
    name : str, optional
        Name of the image in messages. Default: the path.
    limits : Limits
    formats : collection of str, optional
        Pillow's names of the formats that are accepted. Default: all supported ones.
    isolated : bool
        Decode in a process with limits on memory and time, for untrusted files. AVIF, HEIC, JPEG 2000 and compressed
        TIFF are always decoded this way.

    Raises
    ------
    InputError
        If the file cannot be read. UnknownFormatError, ImageTooLargeError or ImageError if it is not an image, is too
        large, or is damaged or not supported.
    """
    with _named(source, name) as name:
        prepared = _prepared(source, name, limits, formats)
        apart = (prepared.isolated or isolated) and can_isolate()
        image, orientation = (decode_isolated if apart else decode_prepared)(prepared, limits)
        prepared.data, prepared.orientation = b"", orientation
        return Decoded(image, prepared)


def read_rgb(
    source: Source, name: str | None = None, *, limits: Limits = DEFAULT_LIMITS, isolated: bool = False
) -> NDArray[np.uint8]:
    """Decode the first frame of an image as (H, W, 3) uint8 RGB, upright, transparent pixels on white.

    Same parameters and errors as `decode`.
    """
    decoded = decode(source, name, limits=limits, isolated=isolated)
    with _named(source, name):
        return decoded.rgb()


def stored_size(
    source: Source,
    name: str | None = None,
    *,
    limits: Limits = DEFAULT_LIMITS,
    formats: Collection[str] | None = None,
) -> tuple[int, int]:
    """Return the stored (width, height) of an image. Same parameters and errors as `decode`."""
    with _named(source, name) as name:
        prepared = _prepared(source, name, limits, formats)
        if all(prepared.size):
            return prepared.size
        apart = prepared.isolated and can_isolate()
        return (decode_isolated if apart else decode_prepared)(prepared, limits)[0].size


def _prepared(source: Source, name: str, limits: Limits, formats: Collection[str] | None) -> Prepared:
    format_, data = _load(source, name, limits, formats)
    try:
        prepared = _PREPARE[format_](data, limits)
    except (struct.error, IndexError) as error:
        raise Damaged("ends within its header") from error
    limits.check_size(*prepared.size)
    return prepared


def _load(source: Source, name: str, limits: Limits, formats: Collection[str] | None) -> tuple[str, bytes]:
    """Return a source's format and content."""
    most = limits.memory // 2
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, (str, os.PathLike)):
        with Path(source).open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                _check_file(status.st_size, most)
                data = file.read(status.st_size)
                if len(data) < status.st_size:
                    data += file.readall()
            else:  # a pipe or a device, which may be endless
                endless = io.BufferedReader(file)
                data = endless.read(HEAD)
                format_of(data, name, formats)
                data += endless.read(most + 1 - len(data))
    else:
        data = source.read(most + 1)
    _check_file(len(data), most)
    return format_of(data[:HEAD], name, formats), data


def _check_file(size: int, most: int) -> None:
    if size > most:
        got = f"got {size / 2**30:.3g} GiB; scale the image down first"
        raise TooLarge(f"expected a file of at most {most / 2**30:.3g} GiB, {got}")


@contextmanager
def _named(source: Source, name: str | None) -> Iterator[str]:
    """Yield the image's name; turn errors of the block into ImageErrors with that name."""
    if name is None:
        name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "image"
    try:
        yield name
    except InputError:
        raise
    except Damaged as error:
        raise ImageError(name, f"damaged or cut short ({error}); fetch or export the file again") from None
    except Unsupported as error:
        raise ImageError(name, str(error)) from None
    except TooLarge as error:
        raise ImageTooLargeError(name, str(error)) from None
    except MemoryError:
        raise ImageTooLargeError(name, "not enough memory to decode it; scale the image down first") from None
    except (OSError, ValueError) as error:  # ValueError: a path that is invalid on every file system
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name}: {reason}" if name else reason) from None


def read_image(image: ImageLike) -> NDArray[np.uint8]:
    """Decode an image.

    Parameters
    ----------
    image : path, PIL image or (H, W, 3) uint8 array
        The EXIF orientation is applied. Gray images get three equal channels, 16-bit images are scaled to 8 bits, CMYK
        is converted, and transparent pixels are placed on white. Of an animation, the first frame is returned. An array
        is interpreted as RGB and returned unchanged.

    Returns
    -------
    (H, W, 3) uint8
        RGB.

    Raises
    ------
    InputError
        If the file is missing, damaged or not an image, or an array has another shape or dtype.
    """
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise InputError(
                f"image: expected (H, W, 3) uint8 RGB, got shape {image.shape} {image.dtype}; {_remedy(image)}"
            )
        return image
    if isinstance(image, Image.Image):
        try:
            image.load()
        except Exception as error:
            raise InputError(f"image: cannot be decoded ({' '.join(str(error).split())})") from None
        try:
            return to_rgb(image, orientation=_orientation(image))
        except Unsupported as error:
            raise InputError(f"image: {error}") from None
    if not isinstance(image, (str, os.PathLike)):
        got = " ".join(repr(image).split())
        raise InputError(f"image: expected a path, a PIL image or an (H, W, 3) uint8 array, got {got:.80}")
    return read_rgb(image)


def _remedy(image: NDArray[Any]) -> str:
    """Return the conversion that makes an array valid."""
    if image.size == 0:
        return "it is empty"
    if image.ndim == 3 and image.shape[0] == 3 and image.shape[2] != 3:
        return "image.transpose(1, 2, 0) puts the channels last"
    if image.dtype == np.uint8 and (image.ndim == 2 or image.shape[2:] == (4,)):
        return "pass PIL.Image.fromarray(image)"
    if image.ndim != 3 or image.shape[2] != 3:
        return "stack three channels as the last axis"
    if np.issubdtype(image.dtype, np.floating):
        return "(image * 255).round().astype(np.uint8) if it goes from 0 to 1"
    return "image.astype(np.uint8) if it goes from 0 to 255"


def _orientation(image: Image.Image) -> int:
    # A damaged orientation tag is ignored.
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1

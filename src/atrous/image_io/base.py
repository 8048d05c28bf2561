"""Errors, limits, orientation and checked files, which all formats share."""

import re
import struct
from dataclasses import dataclass

from ..errors import InputError

_ORIENTATION = 0x0112
_FORMATS = {1: "B", 3: "H", 4: "I"}  # of tag types: BYTE, SHORT, LONG
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


class ImageError(InputError):
    """An image file cannot be read because it is damaged or its kind is not supported.

    Attributes
    ----------
    name : str
        The file's name in messages.
    reason : str
        The message without the name.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}" if name else reason)
        self.name, self.reason = name, reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[str, str]]:
        return type(self), (self.name, self.reason)


class UnknownFormatError(ImageError):
    """A file is not in a supported format."""


class ImageTooLargeError(ImageError):
    """An image has more pixels than allowed, or takes too much memory or time to decode."""


class Damaged(Exception):
    """A decoding error; becomes an ImageError with the file's name."""


class Unsupported(Exception):
    """An undamaged file of an unsupported kind, with a remedy; becomes an ImageError."""


class TooLarge(Exception):
    """A file that takes too much memory or time; becomes an ImageTooLargeError."""


@dataclass(frozen=True)
class Limits:
    """Limits on one image.

    Attributes
    ----------
    pixels : int
        Number of pixels. Default: twice Pillow's `MAX_IMAGE_PIXELS`, which is also Pillow's limit.
    side : int
        Width and height. Default: the limit of JPEG, the format of overlays.
    memory : int
        Bytes for decoding, including the file.
    seconds : float
        Processor time of a decoder process, plus one second per megabyte of the file.
    """

    pixels: int = 178_956_970
    side: int = 65_500
    memory: int = 2 * 2**30
    seconds: float = 10.0

    def check_size(self, width: int, height: int) -> None:
        """Raise TooLarge if an image has too many pixels or too long a side."""
        if max(width, height) > self.side:
            raise TooLarge(
                f"expected sides of at most {self.side} pixels, got {width}x{height}; crop or tile the image first"
            )
        if width * height > self.pixels:
            raise TooLarge(
                f"expected at most {self.pixels / 1e6:.4g} million pixels, got {width}x{height}; scale the image down"
                " first"
            )

    def check_memory(self, needed: int) -> None:
        """Raise TooLarge if decoding takes too many bytes."""
        if needed > self.memory:
            raise TooLarge(
                f"expected an image that decodes in {self.memory / 2**30:.3g} GiB of memory, got one of about"
                f" {needed / 2**30:.3g} GiB; scale the image down first"
            )


@dataclass(slots=True)
class Prepared:
    """Input of a decoder.

    Attributes
    ----------
    format : str
        Pillow's name.
    data : bytes
        A file of that format with the same pixels, without metadata, further frames and trailing data. Cleared after
        decoding.
    size : (width, height)
        Stored size, before the orientation is applied. (0, 0) if only the decoder can read it.
    pixel_bytes : float
        Memory for decoding, in bytes per pixel.
    extra_bytes : int
        Further memory for decoding, in bytes, without the file.
    orientation : int
        EXIF orientation, 1 to 8; 1 if the decoder applies it.
    bits : int
        Stored bits per channel of a PNG.
    shift : int
        Number of bits of the 16-bit gray values, minus 8.
    inverted : bool
        Whether the lowest gray value is white.
    transparent : int or None
        The transparent gray value.
    kind : str
        Description of a TIFF's pixels for the message if Pillow does not support them.
    through_libtiff : bool
        Whether Pillow must use libtiff for an uncompressed TIFF.
    isolated : bool
        Whether a process with limits decodes the image, because the header does not limit memory and time, or because
        the library only prints errors.
    """

    format: str
    data: bytes
    size: tuple[int, int] = (0, 0)
    pixel_bytes: float = 4.0
    extra_bytes: int = 0
    orientation: int = 1
    bits: int = 8
    shift: int = 8
    inverted: bool = False
    transparent: int | None = None
    kind: str = ""
    through_libtiff: bool = False
    isolated: bool = False


def orientation_of(exif: bytes | None, xmp: bytes | None = None) -> int:
    """Return the orientation, 1 to 8, from EXIF or else from XMP; 1 if neither has a valid one.

    Parameters
    ----------
    exif : bytes
        TIFF header and directories, with or without the prefix `Exif` and two zero bytes.
    xmp : bytes
    """
    noted = _from_exif(exif.removeprefix(b"Exif\0\0")) if exif else None
    if noted is None and xmp and (match := _XMP.search(xmp)):
        noted = int(match[1])
    return noted if noted is not None and 1 <= noted <= 8 else 1


def _from_exif(tiff: bytes) -> int | None:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    entries = tiff[start + 2 : start + 2 + 12 * count]
    for tag, kind, _, value in struct.iter_unpack(f"{order}HHI4s", entries[: len(entries) // 12 * 12]):
        if tag == _ORIENTATION and kind in _FORMATS:
            return int(struct.unpack_from(order + _FORMATS[kind], value)[0])
    return None

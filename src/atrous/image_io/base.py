"""Errors, limits, orientation and checked files, which all formats share."""

import re
import struct
from dataclasses import dataclass

from ..errors import InputError

_ORIENTATION = 0x0112
_FORMATS = {1: "B", 3: "H", 4: "I"}  # of a tag's type: BYTE, SHORT, LONG
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


class ImageError(InputError):
    """An image file cannot be read: it is damaged, or of a kind that is not supported.

    Attributes
    ----------
    name : str
        The file, as the caller calls it.
    reason : str
        The message without the name.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}" if name else reason)
        self.name, self.reason = name, reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[str, str]]:
        return type(self), (self.name, self.reason)


class UnknownFormatError(ImageError):
    """A file is in no format that is read here."""


class ImageTooLargeError(ImageError):
    """An image has more pixels than allowed, or would take more memory or time to decode."""


class Damaged(Exception):
    """A decoder's complaint; `read` turns it into an ImageError with the file's name."""


class Unsupported(Exception):
    """An undamaged file that is not decoded, and what to do about it; becomes an ImageError."""


class TooLarge(Exception):
    """A file that would take too much memory or time; becomes an ImageTooLargeError."""


@dataclass(frozen=True)
class Limits:
    """Limits on an image.

    Attributes
    ----------
    pixels : int
        Default: twice Pillow's own `MAX_IMAGE_PIXELS`, where Pillow refuses too.
    side : int
        Width and height. Default: what JPEG, the format of overlays, can hold.
    memory : int
        Bytes that decoding takes, the file included.
    seconds : float
        Processor time of a decoder process. One more is allowed for each megabyte of the file.
    """

    pixels: int = 178_956_970
    side: int = 65_500
    memory: int = 2 * 2**30
    seconds: float = 10.0

    def check_size(self, width: int, height: int) -> None:
        """Raise TooLarge if an image has too many pixels or too long a side."""
        if max(width, height) > self.side:
            raise TooLarge(
                f"expected sides of at most {self.side} pixels, got {width}x{height}; cut the image up first"
            )
        if width * height > self.pixels:
            raise TooLarge(
                f"expected at most {self.pixels / 1e6:.4g} million pixels, got {width}x{height}; scale the image down"
                " first"
            )

    def check_memory(self, needed: int) -> None:
        """Raise TooLarge if decoding would take too many bytes."""
        if needed > self.memory:
            raise TooLarge(
                f"expected to decode it in {self.memory / 2**30:.3g} GiB of memory, but it takes about"
                f" {needed / 2**30:.3g} GiB; scale the image down first"
            )


@dataclass(slots=True)
class Prepared:
    """What a decoder is given.

    Attributes
    ----------
    format : str
        By Pillow's name.
    data : bytes
        A file of that format with the same pixels, without metadata, further frames and trailing data. Emptied when it
        is decoded.
    size : (width, height)
        As stored, before the orientation is applied. (0, 0) if the decoder has to find out.
    pixel_bytes : float
        Memory that decoding takes for each pixel.
    extra_bytes : int
        Memory beside that and beside the file.
    orientation : int
        EXIF's, 1 to 8; 1 if the decoder applies it.
    bits : int
        Of a PNG's channel, as stored.
    shift : int
        Bits that the decoder's 16-bit gray values have more than 8.
    inverted : bool
        Whether the lowest of them is white.
    transparent : int or None
        The one of them that is transparent.
    kind : str
        Of a TIFF: what is said where Pillow does not know its kind of pixels.
    through_libtiff : bool
        Whether Pillow has to leave an uncompressed TIFF to libtiff.
    isolated : bool
        Whether decoding is left to a process with limits: because nothing in the header bounds what it takes, or
        because its library prints what is wrong.
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
    """Return the orientation, 1 to 8, from EXIF or, if that has none, from XMP; 1 if neither has a valid one.

    Parameters
    ----------
    exif : bytes
        A TIFF header and its directories, with or without `Exif` and two zeros before it.
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

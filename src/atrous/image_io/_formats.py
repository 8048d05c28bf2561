"""Supported image formats, detected from a file's first bytes and never from its name."""

import re
from collections.abc import Collection
from importlib.util import find_spec

from ..errors import installation
from .base import UnknownFormatError

HEAD = 64  # bytes needed to detect a format
EXPECTED = "a JPEG, PNG, TIFF, WebP, AVIF, HEIC, GIF, BMP, JPEG 2000, PPM or TGA image"

# Pillow's names. Its other readers are never called: some of them start programs.
_SIGNATURES = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("GIF", rb"GIF8[79]a"),
    ("WEBP", rb"RIFF....WEBPVP8[ XL]"),
    ("TIFF", rb"II[*+]\0|MM\0[*+]"),
    ("BMP", rb"BM"),
    ("PPM", rb"P[1-6Ff]\s"),
    ("AVIF", rb"....ftyp(?:avif|avis|(?:mif1|msf1)(?:....)*(?:avif|avis))"),
    ("HEIF", rb"....ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)"),
    ("JPEG2000", rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"),
    # TGA has no signature. Icons begin the same, but count their images where a TGA without a palette has 0.
    ("TGA", rb".(?:\0[\2\3\x0a\x0b]\0{5}|\x01[\x01\x09]....[\x10\x18\x20]).{8}[\x08\x10\x18\x20]"),
)
_FORMAT = re.compile(b"|".join(b"(?P<%s>%s)" % (name.encode(), pattern) for name, pattern in _SIGNATURES), re.DOTALL)

_OTHERS = (
    ("a video", rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI "),
    ("PostScript", rb"%!PS|\xc5\xd0\xd3\xc6"),
    ("a PDF", rb"%PDF-"),
    ("a Photoshop file", rb"8BPS"),
    ("an icon", rb"\x00\x00[\x01\x02]\x00|icns"),
    ("a web page or an SVG drawing", rb"(?:\xef\xbb\xbf)?\s*<"),
    ("a ZIP archive", rb"PK\x03\x04"),
    ("a pointer of Git LFS", rb"version https://git-lfs"),
)
_TITLES = {"HEIF": "a HEIC image"}  # of formats whose users know another name


def reads_heif() -> bool:
    """Return whether the decoder of HEIC images, extra "heif", is installed."""
    return find_spec("pillow_heif") is not None


def format_of(head: bytes, name: str, formats: Collection[str] | None = None) -> str:
    """Return Pillow's name of a file's format.

    Parameters
    ----------
    head : bytes
        The first `HEAD` bytes of the file.
    name : str
        Name of the file in the message.
    formats : collection of str, optional
        Formats that are accepted. Default: all supported ones.

    Raises
    ------
    UnknownFormatError
        If the format is not accepted, or the file is empty.
    """
    if not head:
        raise UnknownFormatError(name, "expected an image, got an empty file; fetch or export it again")
    found = match.lastgroup if (match := _FORMAT.match(head)) else None
    if found is not None and (formats is None or found in formats):
        if found == "HEIF" and not reads_heif():
            remedy = f"{installation('heif')}, or convert it first"
            raise UnknownFormatError(name, f"a HEIC image, as phones take them, needs pillow-heif; {remedy}")
        return found
    expected = EXPECTED if formats is None else f"a {' or '.join(formats)} image"
    other = next((other for other, pattern in _OTHERS if re.match(pattern, head, re.DOTALL)), "an unknown format")
    raise UnknownFormatError(
        name, f"expected {expected}, got {_TITLES.get(found or '', found) or other}; convert it first"
    )

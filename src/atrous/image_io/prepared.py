"""An encoded image, checked and stripped of what its pixels do not need."""

from dataclasses import dataclass


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

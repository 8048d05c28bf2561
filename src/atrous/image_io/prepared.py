"""Encoded images, checked and reduced to the data needed for their pixels."""

from dataclasses import dataclass


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

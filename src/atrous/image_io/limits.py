"""Limits on the size of an image and on the memory and time of decoding."""

from dataclasses import dataclass

from .errors import TooLarge


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

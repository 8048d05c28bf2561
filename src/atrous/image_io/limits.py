"""How large an image may be, and how much memory and time decoding may take."""

from dataclasses import dataclass

from .errors import TooLarge


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

"""Errors about image files."""

from ..errors import InputError


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

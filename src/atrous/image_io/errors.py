"""Errors of image files."""

from ..errors import InputError


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

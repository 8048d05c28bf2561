"""Image files: formats, limits and decoding."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import ImageError, ImageTooLargeError, Limits, UnknownFormatError
    from .decode import IMAGE_SUFFIXES, VIDEO_SUFFIXES, ImageLike, read_image, read_rgb, stored_size
    from .process import kill_decoders

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "ImageError",
    "ImageLike",
    "ImageTooLargeError",
    "Limits",
    "UnknownFormatError",
    "kill_decoders",
    "read_image",
    "read_rgb",
    "stored_size",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # Decoder processes, which import this package, start without the rest.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        modules = [import_module(f".{module}", __name__) for module in ("base", "decode", "process")]
        return getattr(next(module for module in modules if hasattr(module, name)), name)

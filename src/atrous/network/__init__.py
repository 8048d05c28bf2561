"""DeepLab in PyTorch: networks, weights and export (extra "train")."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra

try:
    import safetensors  # noqa: F401
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtra.of(f"{error.name} is not installed, but training and checkpoints need it", "train") from None

from .convert import convert
from .deeplab import DeepLab
from .pretrained_init import Start, start
from .torch_backend import TorchEngine, usable_device
from .variants import VARIANTS, Variant

if TYPE_CHECKING:
    from .onnx_export import export_float, export_float16, export_int8, largest_activation

__all__ = [
    "VARIANTS",
    "DeepLab",
    "Start",
    "TorchEngine",
    "Variant",
    "convert",
    "export_float",
    "export_float16",
    "export_int8",
    "largest_activation",
    "start",
    "usable_device",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # The exporter's libraries take seconds to import, and training does without them.
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(".onnx_export", __name__), name)

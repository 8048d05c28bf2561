"""The DCNN in PyTorch (needs the extra "train")."""

from ..errors import MissingExtra

try:
    import safetensors  # noqa: F401
    import torch  # noqa: F401
except ImportError as error:
    raise MissingExtra(
        f"{error.name} is not installed: training and checkpoints need the extra, pip install 'atrous[train]'"
    ) from None

from .deeplab import DeepLab
from .variants import VARIANTS, Variant

__all__ = ["VARIANTS", "DeepLab", "Variant"]

"""DeepLab for Python: a VGG-16 with the hole algorithm, refined by a fully connected CRF.

`Segmenter` segments images, `DenseCRF` refines the scores of any network, and `atrous.network` contains the network
in PyTorch (extra "train").
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from .crf import DenseCRF
    from .errors import InputError
    from .segmenter import Segmentation, Segmenter

__all__ = ["DenseCRF", "InputError", "Segmentation", "Segmenter"]

_HOMES = {
    "DenseCRF": ".crf",
    "InputError": ".errors",
    "Segmentation": ".segmenter",
    "Segmenter": ".segmenter",
}


if not TYPE_CHECKING:  # a type checker would accept any attribute

    def __getattr__(name: str) -> Any:
        # Imported on first use, so that `import atrous` and every command start fast.
        if name in _HOMES:
            return getattr(import_module(_HOMES[name], __name__), name)
        if name == "__version__":
            return import_module("._provenance", __name__).own_version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

"""DeepLab for Python: a VGG-16 made dense by the hole algorithm, sharpened by a fully connected CRF.

`Segmenter` turns photos into masks, `DenseCRF` sharpens the scores of any network, `atrous.network` holds
the network in PyTorch (extra "train").
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


if not TYPE_CHECKING:  # a checker of types would take any name for one of these

    def __getattr__(name: str) -> Any:
        # Imported at first use: `import atrous` and every command stay quick.
        if name in _HOMES:
            return getattr(import_module(_HOMES[name], __name__), name)
        if name == "__version__":
            return import_module("._provenance", __name__).own_version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

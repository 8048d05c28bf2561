"""Files that hold VGG-16 or a descendant of it, read into layers of our names."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ..errors import InputError
from .deeplab import TRUNK
from .weights import read_tensors

CONVOLUTIONS = tuple(f"{stage}_{i}" for stage, spec in TRUNK.items() for i in range(1, spec.convolutions + 1))

Layers = dict[str, tuple[Tensor, Tensor]]


@dataclass
class WeightFile:
    """Layers by our names; weights OIHW or, for a fully connected layer, (out, in)."""

    format: str
    layers: Layers
    unused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def called(self, layer: str) -> str:
        """Return what the file calls a layer of ours."""
        return self.names.get(layer, layer)


def read_weight_file(path: Path) -> WeightFile:
    """Read any known file; InputError in one line where that fails."""
    if path.is_dir():
        if not (path / "model.safetensors").is_file():
            raise InputError(f"{path}: expected a checkpoint folder with model.safetensors in it, or a file of weights")
        path = path / "model.safetensors"
    tensors = read_tensors(path)
    layers = {
        name.removesuffix(".weight"): (weight, tensors[name.removesuffix("weight") + "bias"])
        for name, weight in tensors.items()
        if name.endswith(".weight") and name.removesuffix("weight") + "bias" in tensors
    }
    return WeightFile("safetensors file with our names", layers)

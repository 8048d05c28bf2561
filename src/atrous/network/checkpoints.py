"""Reader of weight files of VGG-16 and its descendants, which maps layer names to those of this package."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from .._file_kinds import HEAD, refuse_foreign
from ..data.transforms import MEAN_BGR
from ..errors import InputError, as_input_error
from ._onnx_import import FIRST_BYTE, read_exported
from .deeplab import TRUNK
from .torch_backend import MODEL, STATE, read_state
from .weights import drawn_by_conversion, read_pickle, read_tensors

CONVOLUTIONS = tuple(f"{stage}_{i}" for stage, spec in TRUNK.items() for i in range(1, spec.convolutions + 1))

# Positions of the convolutions in torchvision's nn.Sequential, which includes ReLUs and pools. conv6 and conv7 of SSD's
# reduced VGG-16 follow in the same sequence.
_SEQUENCE = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_REDUCED = {**dict(zip(CONVOLUTIONS, _SEQUENCE, strict=True)), "fc6": 31, "fc7": 33}

# Limits of a safetensors file, from its specification.
_LONGEST_HEADER = 100_000_000

Layers = dict[str, tuple[Tensor, Tensor]]


# Input normalization of torchvision's ImageNet weights: red-green-blue, 0 to 1, minus the mean, divided by the
# deviation.
MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)

# Rounded central taps (blue, green, red) of a few filters of conv1_1 in Simonyan and Zisserman's weights. Many files of
# other projects descend from these weights, some with reversed colors.
_RELEASED = {
    5: (0.268, -0.236, -0.103),
    19: (-0.156, -0.207, 0.190),
    29: (-0.178, 0.012, 0.279),
    59: (-0.287, 0.176, 0.195),
}
_TOLERANCE = 0.02


@dataclass
class WeightFile:
    """Contents of a weight file.

    Attributes
    ----------
    format : str
        Description of the format.
    layers : dict
        Weight and bias by layer name of this package; the weight of a fully connected layer may be a matrix.
    names : dict
        Layer names in the file.
    unused, notes : list of str
        Unused layers, and conversions.
    classes : tuple of str or None
        Class names of fc8; None if the file has none.
    """

    format: str
    layers: Layers
    names: dict[str, str]
    unused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    classes: tuple[str, ...] | None = None

    def called(self, layer: str) -> str:
        """Return the file's name of a layer."""
        return self.names.get(layer, layer)


def read_weight_file(path: Path) -> WeightFile:
    """Read any known file, detected from its first bytes and its names; raise InputError on failure."""
    if path.is_dir():
        file = _flat(read_tensors(_checkpoint_model(path)), path, "safetensors")
        file.format = "checkpoint folder"
        if (path / STATE).is_file():
            file.classes = tuple(map(str, read_state(path)["classes"]))
        return file
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; expected weights (.safetensors, .pth, .caffemodel, .onnx) or a checkpoint folder"
        )
    with as_input_error(path, "read"), path.open("rb") as stream:
        head = stream.read(HEAD)
    refuse_foreign(path, head, "weights as safetensors, .pth or .caffemodel")
    # The first eight bytes are the length of the JSON after them, and can look like another format.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < _LONGEST_HEADER:
        file = _flat(read_tensors(path), path, "safetensors")
        if drawn := drawn_by_conversion(path):
            file.notes.append(f"{', '.join(drawn)} are in the file, but were initialized at random in the conversion")
        return file
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _flat(read_pickle(path), path, "PyTorch state dict")
    return _exported(path) if head[:1] == FIRST_BYTE else _caffe(path)


def _exported(path: Path) -> WeightFile:
    tensors, metadata = read_exported(path)
    file = _flat(tensors, path, "ONNX")
    file.format = f"exported network ({metadata.precision})"
    file.classes = metadata.classes
    return file


def _checkpoint_model(folder: Path) -> Path:
    if (folder / MODEL).is_file():
        return folder / MODEL
    newest = sorted(folder.glob(f"checkpoint-*/{STATE}"))
    remedy = f"use {newest[-1].parent}" if newest else "or a weight file"
    raise InputError(f"{folder}: expected a checkpoint folder with {MODEL}; {remedy}")


def _flat(tensors: dict[str, Tensor], path: Path, container: str) -> WeightFile:
    """Detect the naming scheme, after any prefix ("module.", "backbone."), and map the names."""
    if (prefix := _prefix(tensors, "conv1_1.weight")) is not None:
        weights = [key for key in tensors if key.startswith(prefix) and key.endswith(".weight")]
        names = _named((key.removeprefix(prefix).removesuffix(".weight") for key in weights), prefix)
        file = _gather(tensors, names, f"layers by name ({container})")
        return _in_our_colors(file, torchvision=False)
    if (prefix := _prefix(tensors, "0.weight", "31.weight", "33.weight")) is not None:
        names = {layer: f"{prefix}{index}" for layer, index in _REDUCED.items()}
        file = _gather(tensors, names, f"VGG-16 with reduced fc6 and fc7, as in SSD ({container})")
        return _in_our_colors(file, torchvision=False)
    if (prefix := _prefix(tensors, "features.0.weight")) is not None:
        if f"{prefix}features.1.running_mean" in tensors:
            raise InputError(f"{path}: expected VGG-16 without batch normalization, got one with it")
        if f"{prefix}features.34.weight" in tensors:
            raise InputError(f"{path}: expected VGG-16, got VGG-19")
        names = {layer: f"{prefix}features.{i}" for layer, i in zip(CONVOLUTIONS, _SEQUENCE, strict=True)}
        names |= {"fc6": f"{prefix}classifier.0", "fc7": f"{prefix}classifier.3", "fc8": f"{prefix}classifier.6"}
        file = _gather(tensors, names, f"VGG-16 with torchvision's names ({container})")
        return _in_our_colors(file, torchvision=True)
    some = ", ".join(sorted(tensors)[:4]) or "nothing"
    raise InputError(
        f"{path}: expected VGG-16 or DeepLab (a conv1_1.weight, features.0.weight or 0.weight), got {some}, ..."
    )


def _prefix(tensors: dict[str, Tensor], *names: str) -> str | None:
    """Return the shortest prefix, including the dot, with which all names exist."""
    found = [key.removesuffix(names[0]) for key in tensors if key.endswith(names[0])]
    found = [p for p in found if (not p or p.endswith(".")) and all(p + name in tensors for name in names)]
    return min(found, key=len, default=None)


def _named(names: Iterable[str], prefix: str = "") -> dict[str, str]:
    """Map names of this package or of Caffe files, where the last layer is fc8_voc12, fc8_pascal or similar."""
    named = {name: prefix + name for name in names}
    last = [name for name in named if name.startswith("fc8")]
    if len(last) == 1:
        named["fc8"] = named.pop(last[0])
    return named


def _gather(tensors: dict[str, Tensor], names: dict[str, str], format: str) -> WeightFile:
    """Collect the weights and biases of named layers; the rest is unused."""
    file = WeightFile(format, {}, names)
    rest = dict(tensors)
    for layer, name in names.items():
        weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
        if weight is None or bias is None or not (weight.is_floating_point() and bias.is_floating_point()):
            continue
        file.layers[layer] = (weight.float(), bias.float().reshape(-1))
        del rest[f"{name}.weight"], rest[f"{name}.bias"]
    for name in dict.fromkeys(key.removesuffix(".weight").removesuffix(".bias") for key in rest):
        file.unused.append(f"{name}: unknown layer")
    return file


def _in_our_colors(file: WeightFile, *, torchvision: bool) -> WeightFile:
    """Convert conv1_1, if present and complete, to blue-green-red, 0 to 255."""
    weight, bias = file.layers.get("conv1_1", (torch.empty(0), torch.empty(0)))
    if weight.shape[1:] != (3, 3, 3) or bias.shape != weight.shape[:1]:
        return file
    order = released_colors(weight)
    if order == "rgb":
        file.layers["conv1_1"] = (weight.flip(1), bias)
        file.notes.append("conv1_1 converted from red-green-blue to blue-green-red (the released VGG-16's filters)")
    elif order == "bgr" and torchvision:
        file.notes.append("conv1_1 unchanged: the released VGG-16's filters, blue-green-red, 0 to 255")
    elif order is None and torchvision:
        file.layers["conv1_1"] = from_torchvision(weight, bias)
        file.notes.append("conv1_1 converted from torchvision's red-green-blue, 0 to 1, to blue-green-red, 0 to 255")
    return file


def _caffe(path: Path) -> WeightFile:
    """Read a Caffe model: layers by name, and the branches of multi-scale prediction by their inputs."""
    # Imported here, because files in other formats need no protobuf.
    from .caffemodel import branch_names, read_caffemodel

    found = read_caffemodel(path)
    weighted = [layer for layer in found if layer.blobs]
    named = _named(layer.name for layer in weighted if layer.name.startswith(("conv", "fc")))
    named |= branch_names(found, known={*CONVOLUTIONS, "fc6", "fc7", named.get("fc8", "fc8")})
    tensors = {}
    for layer in weighted:
        for kind, blob in zip(("weight", "bias"), layer.blobs, strict=False):
            tensors[f"{layer.name}.{kind}"] = blob
    return _in_our_colors(_gather(tensors, named, "Caffe model"), torchvision=False)


def released_colors(weight: Tensor) -> str | None:
    """Return the color order of conv1_1 if it descends from the released VGG-16 (0 to 255, minus a mean).

    Returns
    -------
    "bgr", "rgb" or None
        None for other weights.
    """
    if weight.shape[1:] != (3, 3, 3) or weight.shape[0] <= max(_RELEASED):
        return None
    centers = weight[list(_RELEASED), :, 1, 1].float()
    expected = torch.tensor(list(_RELEASED.values()))
    for order, channels in (("bgr", [0, 1, 2]), ("rgb", [2, 1, 0])):
        if ((centers[:, channels] - expected).abs() < _TOLERANCE).all():
            return order
    return None


def from_torchvision(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Convert torchvision's conv1_1 to one with the same features for the input of this package.

    Parameters
    ----------
    weight : Tensor
        (out, 3, 3, 3), for red, green, blue.
    bias : Tensor
        (out,)

    Returns
    -------
    weight, bias : Tensor
        float32, for blue, green, red.

    Notes
    -----
    With u = 255 x - M as the input here and y = (x - m) / s as torchvision's, y = u / (255 s) + (M / 255 - m) / s. The
    factor is multiplied into the weights, and the constant, summed over all taps, added to the bias. Away from the
    border this is exact. At the border both networks pad with zeros, which represent different colors: the mean pixel
    m in torchvision, M here. They differ by 1.0, 0.4 and 0.5 gray values of 255 in red, green and blue. A bias cannot
    correct that, because it applies to all pixels; the affected ring is one pixel wide at conv1_1.
    """
    weight, bias = weight.double(), bias.double()
    m, s = torch.tensor(MEAN_RGB, dtype=torch.float64), torch.tensor(STD_RGB, dtype=torch.float64)
    ours = torch.tensor(MEAN_BGR[::-1], dtype=torch.float64)
    shift = (ours / 255 - m) / s
    bias = bias + (weight.sum(dim=(2, 3)) * shift).sum(dim=1)
    weight = weight / (255 * s).reshape(1, 3, 1, 1)
    return weight.flip(1).float(), bias.float()

"""Where a training run starts from: any file of VGG-16 or of DeepLab, fitted to one of our networks."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from .._printable import printable
from ..errors import InputError
from .checkpoints import CONVOLUTIONS, WeightFile, read_weight_file
from .decimation import channel_subset, decimate
from .deeplab import DeepLab, initialize_head
from .multiscale import BRANCHES

# Of fc8 where fc6 and fc7 come from a file (the authors' train.prototxt).
FC8_STD = 0.01

# Of a detector's or a bigger network's layers that are left aside.
_MOST_LINES = 12

Subset = Literal["random", "fourth"]


@dataclass(frozen=True)
class Start:
    """What a network was filled from.

    Attributes
    ----------
    format : str
        What the file is, in words.
    filled, drawn : tuple of str
        Layers taken from the file, and layers drawn at random.
    unused : tuple of str
        What of the file was left aside, each with the reason.
    notes : tuple of str
        What happened on the way: channels, taps, colors.
    """

    format: str
    filled: tuple[str, ...]
    drawn: tuple[str, ...]
    unused: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def report(self) -> str:
        """Return lines to print: the format, what was filled, drawn, changed on the way and left aside."""
        lines = [f"format: {self.format}", f"filled: {_listed(self.filled)}", f"drawn at random: {_listed(self.drawn)}"]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"not used: {thing}" for thing in self.unused[:_MOST_LINES]]
        if len(self.unused) > _MOST_LINES:
            lines.append(f"not used: {len(self.unused) - _MOST_LINES} more")
        return "\n".join(map(printable, lines))


def start(
    net: DeepLab,
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    subset: Subset = "random",
) -> Start:
    """Fill a network from any file that is known, and draw at random what is not in it.

    Parameters
    ----------
    net : DeepLab
        Changed in place, or left alone where this raises.
    path : path
        VGG-16 of torchvision, of Caffe or reduced by SSD; a model of the paper's authors; a weight file, a
        checkpoint folder or an exported network of this package. The format is detected from the contents, see
        docs/starting-points.md.
    classes : sequence of str, optional
        Names of the network's classes. Where the file names other ones, fc8 (and the branches' classifiers) are
        drawn at random and the rest is kept. Without names only the shapes have to agree.
    seed : int
        Of everything drawn: the same seed gives the same numbers.
    subset : {"random", "fourth"}
        Which of fc6's 4,096 filters a narrower network keeps.

    Returns
    -------
    Start

    Raises
    ------
    InputError
        If the file cannot be read, is of no known format, or its convolutions are not VGG-16's.
    """
    if subset not in ("random", "fourth"):
        raise InputError(f"subset={subset!r}: expected 'random' or 'fourth'")
    source = read_weight_file(Path(path))
    generator = torch.Generator().manual_seed(seed)
    plan = _Plan(net, source, path, classes)
    plan.convolutions()
    plan.fully_connected(generator, subset)
    plan.others()
    initialize_head(net, generator)
    if "fc7" in plan.values and "fc8" not in plan.values:
        with torch.no_grad():
            net.fc8.weight.normal_(0.0, FC8_STD, generator=generator)
    with torch.no_grad():
        for layer, (weight, bias) in plan.values.items():
            net.get_parameter(f"{layer}.weight").copy_(weight)
            net.get_parameter(f"{layer}.bias").copy_(bias)
    return Start(
        format=source.format,
        filled=tuple(layer for layer in plan.layers if layer in plan.values),
        drawn=tuple(layer for layer in plan.layers if layer not in plan.values),
        unused=(*plan.unused, *source.unused),
        notes=(*source.notes, *plan.notes),
    )


class _Plan:
    """What is to be copied where, all of it checked before the network is touched."""

    def __init__(
        self, net: DeepLab, source: WeightFile, path: str | os.PathLike[str], classes: Sequence[str] | None
    ) -> None:
        self.net = net
        self.source = source
        self.path = path
        self.other_classes = None not in (classes, source.classes) and tuple(classes or ()) != source.classes
        self.layers = [name.removesuffix(".weight") for name, _ in net.named_parameters() if name.endswith(".weight")]
        self.values: dict[str, tuple[Tensor, Tensor]] = {}
        self.notes: list[str] = []
        self.unused: list[str] = []

    def convolutions(self) -> None:
        """conv1_1 to conv5_3, which no start can do without."""
        for layer in CONVOLUTIONS:
            if layer not in self.source.layers:
                raise InputError(
                    f"{self.path}: expected VGG-16's 13 convolutions, but {self.source.called(layer)} is missing "
                    f"({self.source.format}); give a file of VGG-16 or of DeepLab"
                )
            weight, bias = self.source.layers[layer]
            expected = self.net.get_parameter(f"{layer}.weight").shape
            if weight.shape != expected or len(bias) != expected[0]:
                raise InputError(
                    f"{self.path}: {self.source.called(layer)} has shape {tuple(weight.shape)}, expected "
                    f"{tuple(expected)}; give a file of VGG-16 or of DeepLab"
                )
            if not (weight.isfinite().all() and bias.isfinite().all()):
                raise InputError(f"{self.path}: {self.source.called(layer)} holds NaN or infinity; give a whole file")
            self.values[layer] = (weight, bias)

    def fully_connected(self, generator: torch.Generator, subset: Subset) -> None:
        """fc6, then fc7, which means something only with the fc6 that it was trained on."""
        kept = self._fc6(generator, subset) if "fc6" in self.source.layers else None
        if "fc7" not in self.source.layers:
            return
        if kept is None:
            self.unused.append(f"{self.source.called('fc7')}: worth nothing without its fc6")
            return
        weight, bias = self.source.layers["fc7"]
        inputs = len(self.source.layers["fc6"][1])
        weight = _as_convolution(weight, inputs)
        if weight.shape != (inputs, inputs, 1, 1) or len(bias) != inputs:
            self._misfit("fc7", torch.Size((inputs, inputs, 1, 1)))
        elif self._finite("fc7", weight, bias):
            # fc7's inputs are fc6's outputs: one index set for both. Its own outputs feed a new fc8.
            self.values["fc7"] = (weight[kept][:, kept], bias[kept])

    def _fc6(self, generator: torch.Generator, subset: Subset) -> Tensor | None:
        """Decimate fc6; return the indices of the channels that it keeps, None if it does not fit."""
        target = self.net.fc6.weight.shape
        weight, bias = self.source.layers["fc6"]
        weight = _as_convolution(weight, target[1])
        taps = decimate(weight, target[-1])
        if taps is None or weight.shape[0] < target[0] or weight.shape[1] != target[1] or len(bias) != len(weight):
            self._misfit("fc6", target)
            return None
        if not self._finite("fc6", weight, bias):
            return None
        kept = torch.arange(len(weight))
        if taps.shape != weight.shape:
            self.notes.append(f"fc6 decimated from {_side(weight)} to {_side(taps)} taps")
        if len(weight) > target[0]:
            kept = channel_subset(len(weight), target[0], subset, generator)
            how = "every fourth" if subset == "fourth" else "drawn at random"
            self.notes.append(f"fc6 and fc7 keep {target[0]} of {len(weight)} channels, {how}")
        self.values["fc6"] = (taps[kept], bias[kept])
        return kept

    def others(self) -> None:
        """fc8 and the branches, where they fit."""
        if self.net.branches is None and any(layer.startswith("branches.") for layer in self.source.layers):
            self.unused.append("the branches: the network predicts at one scale")
        for layer, (weight, bias) in self.source.layers.items():
            if layer in self.values or layer in ("fc6", "fc7"):
                continue
            if layer.startswith("branches.") and self.net.branches is None:
                continue
            if layer not in self.layers:
                self.unused.append(f"{self.source.called(layer)}: the network has no such layer")
                continue
            target = self.net.get_parameter(f"{layer}.weight").shape
            matrix = _as_convolution(weight, target[1])
            if self.other_classes and layer.endswith(("fc8", ".classifier")):
                self.unused.append(f"{self.source.called(layer)}: tells other classes apart ({self._class_names()})")
            elif layer == "fc8" and "fc7" not in self.values:
                self.unused.append(f"{self.source.called(layer)}: worth nothing without its fc7")
            elif matrix.shape != target or len(bias) != target[0]:
                self._misfit(layer, target)
            elif self._finite(layer, weight, bias):
                self.values[layer] = (matrix, bias)

    def _class_names(self) -> str:
        names = self.source.classes or ()
        return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")

    def _misfit(self, layer: str, target: torch.Size) -> None:
        got = tuple(self.source.layers[layer][0].shape)
        self.unused.append(f"{self.source.called(layer)}: shape {got} does not fit {tuple(target)}")

    def _finite(self, layer: str, weight: Tensor, bias: Tensor) -> bool:
        if weight.isfinite().all() and bias.isfinite().all():
            return True
        self.unused.append(f"{self.source.called(layer)}: holds NaN or infinity")
        return False


def _as_convolution(weight: Tensor, channels: int) -> Tensor:
    """Give a fully connected layer's (out, channels * side * side) matrix the shape of a convolution."""
    matrix = weight.reshape(weight.shape[-2:]) if weight.ndim == 4 and weight.shape[:2] == (1, 1) else weight
    if matrix.ndim != 2 or channels < 1:
        return weight
    side = round((matrix.shape[1] / channels) ** 0.5)
    if matrix.shape[1] != channels * side * side:
        return weight
    return matrix.reshape(matrix.shape[0], channels, side, side)


def _side(weight: Tensor) -> str:
    return f"{weight.shape[-2]}x{weight.shape[-1]}"


def _listed(layers: Sequence[str]) -> str:
    """Name layers, the convolutions and the branches in short where they are all there."""
    rest = list(layers)
    said = []
    if set(CONVOLUTIONS) <= set(rest):
        said.append(f"{CONVOLUTIONS[0]} to {CONVOLUTIONS[-1]}")
        rest = [layer for layer in rest if layer not in CONVOLUTIONS]
    branches = [layer for layer in rest if layer.startswith("branches.")]
    if len(branches) == 3 * len(BRANCHES):
        rest = [layer for layer in rest if layer not in branches]
        rest.append("the branches")
    return ", ".join(said + rest) or "nothing"

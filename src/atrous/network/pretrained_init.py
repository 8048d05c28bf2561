"""Initialization of a network from any file of VGG-16 or DeepLab."""

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

# Standard deviation of fc8 if fc6 and fc7 come from a file (the authors' train.prototxt).
FC8_STD = 0.01

# Limit on reported unused layers; the file of a detector or a larger network has many.
_MOST_LINES = 12

Subset = Literal["random", "fourth"]


@dataclass(frozen=True)
class Start:
    """Report of a network's initialization.

    Attributes
    ----------
    format : str
        Description of the file's format.
    filled, drawn : tuple of str
        Layers loaded from the file, and layers initialized at random.
    unused : tuple of str
        Unused layers of the file, each with the reason.
    notes : tuple of str
        Conversions of channels, taps and colors.
    """

    format: str
    filled: tuple[str, ...]
    drawn: tuple[str, ...]
    unused: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def report(self) -> str:
        """Return lines to print: the format, and the loaded, random, converted and unused layers."""
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
    """Initialize a network from a weight file of any known format, and layers that are not in it at random.

    Parameters
    ----------
    net : DeepLab
        Changed in place; unchanged after an error.
    path : path
        VGG-16 of torchvision, of Caffe or reduced by SSD; a model of the paper's authors; a weight file, a checkpoint
        folder or an exported network of this package. The format is detected from the contents: see
        docs/starting-points.md.
    classes : sequence of str, optional
        Class names of the network. If the file's differ, fc8 and the branches' classifiers are initialized at random,
        and the other layers are loaded. Default: only the shapes must agree.
    seed : int
        Seed of the random initialization.
    subset : {"random", "fourth"}
        Selection of fc6's 4,096 filters for a narrower network.

    Returns
    -------
    Start

    Raises
    ------
    InputError
        If the file cannot be read, has an unknown format, or its convolutions are not those of VGG-16.
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
    """Layers to copy from the file, all checked before the network changes."""

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
        """Plan conv1_1 to conv5_3, which are required."""
        for layer in CONVOLUTIONS:
            if layer not in self.source.layers:
                raise InputError(
                    f"{self.path}: expected VGG-16's 13 convolutions, but {self.source.called(layer)} is missing "
                    f"({self.source.format}); use a file of VGG-16 or DeepLab"
                )
            weight, bias = self.source.layers[layer]
            expected = self.net.get_parameter(f"{layer}.weight").shape
            if weight.shape != expected or len(bias) != expected[0]:
                raise InputError(
                    f"{self.path}: expected shape {tuple(expected)} of {self.source.called(layer)}, got "
                    f"{tuple(weight.shape)}; use a file of VGG-16 or DeepLab"
                )
            if not (weight.isfinite().all() and bias.isfinite().all()):
                raise InputError(f"{self.path}: {self.source.called(layer)} holds NaN or infinity; use an intact file")
            self.values[layer] = (weight, bias)

    def fully_connected(self, generator: torch.Generator, subset: Subset) -> None:
        """Plan fc6 and then fc7, which requires the fc6 that it was trained with."""
        channels = self._fc6(generator, subset) if "fc6" in self.source.layers else None
        if "fc7" not in self.source.layers:
            return
        if channels is None:
            self.unused.append(f"{self.source.called('fc7')}: requires its fc6")
            return
        weight, bias = self.source.layers["fc7"]
        inputs = len(self.source.layers["fc6"][1])
        weight = _as_convolution(weight, inputs)
        if weight.shape != (inputs, inputs, 1, 1) or len(bias) != inputs:
            self._misfit("fc7", torch.Size((inputs, inputs, 1, 1)))
        elif self._finite("fc7", weight, bias):
            # The inputs of fc7 are the outputs of fc6, so both use the same indices. Its own outputs feed a new fc8.
            self.values["fc7"] = (weight[channels][:, channels], bias[channels])

    def _fc6(self, generator: torch.Generator, subset: Subset) -> Tensor | None:
        """Decimate fc6; return the indices of the selected channels, or None if its shape does not fit."""
        target = self.net.fc6.weight.shape
        weight, bias = self.source.layers["fc6"]
        weight = _as_convolution(weight, target[1])
        taps = decimate(weight, target[-1])
        if taps is None or weight.shape[0] < target[0] or weight.shape[1] != target[1] or len(bias) != len(weight):
            self._misfit("fc6", target)
            return None
        if not self._finite("fc6", weight, bias):
            return None
        channels = torch.arange(len(weight))
        if taps.shape != weight.shape:
            self.notes.append(f"fc6 decimated from {_side(weight)} to {_side(taps)} taps")
        if len(weight) > target[0]:
            channels = channel_subset(len(weight), target[0], subset, generator)
            how = "every fourth" if subset == "fourth" else "selected at random"
            self.notes.append(f"fc6 and fc7 keep {target[0]} of {len(weight)} channels, {how}")
        self.values["fc6"] = (taps[channels], bias[channels])
        return channels

    def others(self) -> None:
        """Plan fc8 and the branches if their shapes fit."""
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
                self.unused.append(f"{self.source.called(layer)}: has other classes ({self._class_names()})")
            elif layer == "fc8" and "fc7" not in self.values:
                self.unused.append(f"{self.source.called(layer)}: requires its fc7")
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
    """Reshape a fully connected layer's (out, channels * side * side) matrix to a convolution."""
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
    """Return the layers' names, with complete convolutions and branches abbreviated."""
    rest = list(layers)
    names = []
    if set(CONVOLUTIONS) <= set(rest):
        names.append(f"{CONVOLUTIONS[0]} to {CONVOLUTIONS[-1]}")
        rest = [layer for layer in rest if layer not in CONVOLUTIONS]
    branches = [layer for layer in rest if layer.startswith("branches.")]
    if len(branches) == 3 * len(BRANCHES):
        rest = [layer for layer in rest if layer not in branches]
        rest.append("the branches")
    return ", ".join(names + rest) or "nothing"

"""Where a training run starts from: any file of VGG-16 or of DeepLab, fitted to one of our networks."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError
from .decimation import channel_subset, decimate
from .deeplab import DeepLab, initialise_head
from .weight_files import CONVOLUTIONS, WeightFile, read_weight_file

# Of fc8 where fc6 and fc7 come from a file (the authors' train.prototxt).
FC8_STD = 0.01

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
        What was changed on the way: channels, taps, colours.
    """

    format: str
    filled: tuple[str, ...]
    drawn: tuple[str, ...]
    unused: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def report(self) -> str:
        """Return lines to print: the format, what was filled, drawn, changed and left aside."""
        lines = [f"format: {self.format}", f"filled: {_listed(self.filled)}", f"drawn at random: {_listed(self.drawn)}"]
        lines += [f"changed: {note}" for note in self.notes]
        lines += [f"not used: {thing}" for thing in self.unused]
        return "\n".join(lines)


def start(net: DeepLab, path: str | os.PathLike[str], *, seed: int = 0, subset: Subset = "random") -> Start:
    """Fill a network from any file that is known, and draw at random what is not in it.

    Parameters
    ----------
    net : DeepLab
        Changed in place, or left alone where this raises.
    path : path
        VGG-16 of torchvision, of Caffe or reduced by SSD; a model of the paper's authors; a file or a
        checkpoint folder of ours. Told apart by contents, see docs/starting-points.md.
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
    plan = _Plan(net, source, path)
    plan.convolutions()
    plan.fully_connected(generator, subset)
    plan.others()
    initialise_head(net, generator)
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

    def __init__(self, net: DeepLab, source: WeightFile, path: str | os.PathLike[str]) -> None:
        self.net = net
        self.source = source
        self.path = path
        self.layers = [name.removesuffix(".weight") for name, _ in net.named_parameters() if name.endswith(".weight")]
        self.values: dict[str, tuple[Tensor, Tensor]] = {}
        self.notes: list[str] = []
        self.unused: list[str] = []

    def convolutions(self) -> None:
        """conv1_1 to conv5_3, which no start can do without."""
        for layer in CONVOLUTIONS:
            if layer not in self.source.layers:
                raise InputError(
                    f"{self.path}: expected VGG-16's 13 convolutions, but there is no {self.source.called(layer)} "
                    f"in this {self.source.format}; give a file of VGG-16 or of DeepLab"
                )
            weight, bias = self.source.layers[layer]
            expected = self.net.get_parameter(f"{layer}.weight").shape
            if weight.shape != expected or bias.numel() != expected[0]:
                raise InputError(
                    f"{self.path}: {self.source.called(layer)} has shape {tuple(weight.shape)}, expected "
                    f"{tuple(expected)}; give a file of VGG-16 or of DeepLab"
                )
            if not (weight.isfinite().all() and bias.isfinite().all()):
                raise InputError(f"{self.path}: {self.source.called(layer)} holds NaN or infinity; give a whole file")
            self.values[layer] = (weight, bias.reshape(-1))

    def fully_connected(self, generator: torch.Generator, subset: Subset) -> None:
        """fc6, then fc7, which means something only with the fc6 that it was trained on."""
        if "fc6" not in self.source.layers:
            if "fc7" in self.source.layers:
                self.unused.append(f"{self.source.called('fc7')}: worth nothing without its fc6")
            return
        target = self.net.fc6.weight.shape
        weight, bias = self.source.layers["fc6"]
        weight, bias = _as_convolution(weight, target[1]), bias.reshape(-1)
        taps = decimate(weight, target[-1])
        if taps is None or weight.shape[0] < target[0] or weight.shape[1] != target[1] or len(bias) != len(weight):
            self._misfit("fc6", target)
            if "fc7" in self.source.layers:
                self.unused.append(f"{self.source.called('fc7')}: worth nothing without its fc6")
            return
        if not self._finite("fc6", weight, bias):
            return
        if taps.shape != weight.shape:
            self.notes.append(f"fc6: {_side(weight)} taps decimated to {_side(taps)}")
        kept = None
        if weight.shape[0] > target[0]:
            kept = channel_subset(weight.shape[0], target[0], subset, generator)
            how = "every fourth" if subset == "fourth" else "drawn at random"
            self.notes.append(f"fc6, fc7: {target[0]} of {weight.shape[0]} channels kept, {how}")
            taps, bias = taps[kept], bias[kept]
        self.values["fc6"] = (taps, bias)
        if "fc7" not in self.source.layers:
            return
        fc7, fc7_bias = self.source.layers["fc7"]
        fc7, fc7_bias = _as_convolution(fc7, weight.shape[0]), fc7_bias.reshape(-1)
        if fc7.shape != (weight.shape[0], weight.shape[0], 1, 1) or len(fc7_bias) != len(fc7):
            self._misfit("fc7", torch.Size((weight.shape[0], weight.shape[0], 1, 1)))
        elif self._finite("fc7", fc7, fc7_bias):
            # fc7's inputs are fc6's outputs: one index set for both. Its own outputs feed a new fc8.
            self.values["fc7"] = (fc7, fc7_bias) if kept is None else (fc7[kept][:, kept], fc7_bias[kept])

    def others(self) -> None:
        """fc8 and the branches, where they fit."""
        for layer, (weight, bias) in self.source.layers.items():
            if layer in self.values or layer in ("fc6", "fc7"):
                continue
            if layer not in self.layers:
                self.unused.append(f"{self.source.called(layer)}: the network has no such layer")
                continue
            target = self.net.get_parameter(f"{layer}.weight").shape
            if layer == "fc8" and "fc7" not in self.values:
                self.unused.append(f"{self.source.called(layer)}: worth nothing without its fc7")
            elif (
                weight.shape != target
                or bias.numel() != target[0]
                or (layer == "fc8" and self.source.layers["fc7"][0].shape[0] != self.net.fc7.weight.shape[0])
            ):
                self._misfit(layer, target)
            elif self._finite(layer, weight, bias):
                self.values[layer] = (weight, bias.reshape(-1))

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


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"

"""The branches of multi-scale prediction found in a Caffe model by what they read, whatever they are called."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from .multiscale import BRANCH_CHANNELS, BRANCHES

if TYPE_CHECKING:
    from .caffemodel import CaffeLayer

_FIRST, _SECOND, _LAST = "layer1", "layer2", "classifier"


def branch_names(layers: Sequence["CaffeLayer"], known: Collection[str]) -> dict[str, str]:
    """Map `branches.image.layer1` and so on to the names of a Caffe model's layers.

    Parameters
    ----------
    layers : sequence of CaffeLayer
        All layers in file order, those without weights too: they say what is connected.
    known : collection of str
        Names that are something else: conv1_1 to fc8.

    Returns
    -------
    dict of str to str
        Empty if there are no branches.

    Notes
    -----
    A branch begins with a 3x3 convolution to 128 channels of something with the channels of the image or
    of pool1 to pool4, which are all different; its two 1x1 convolutions are those that follow it.
    """
    named: dict[str, str] = {}
    place: dict[str, str] = {}  # a layer's name to its place in a branch, "image.layer1"
    behind = _layers_behind(layers, known)
    by_channels = {channels: name for name, (channels, _) in BRANCHES.items()}
    for layer in layers:
        if not layer.blobs or layer.name in known or layer.blobs[0].ndim != 4:
            continue
        out, channels, *kernel = layer.blobs[0].shape
        before = place.get(behind[layer.name], "")
        branch, _, step = before.partition(".")
        if kernel == [3, 3] and out == BRANCH_CHANNELS and channels in by_channels:
            here = f"{by_channels[channels]}.{_FIRST}"
        elif kernel == [1, 1] and step == _FIRST and (out, channels) == (BRANCH_CHANNELS, BRANCH_CHANNELS):
            here = f"{branch}.{_SECOND}"
        elif kernel == [1, 1] and step == _SECOND and channels == BRANCH_CHANNELS:
            here = f"{branch}.{_LAST}"
        else:
            continue
        if f"branches.{here}" not in named:
            place[layer.name] = here
            named[f"branches.{here}"] = layer.name
    return named


def _layers_behind(layers: Sequence["CaffeLayer"], known: Collection[str]) -> dict[str, str]:
    """For each layer with weights: the one whose output it reads, through ReLUs, dropouts and splits.

    Where a file keeps no connections, the one before it that is not `known`.
    """
    writer: dict[str, str] = {}  # blob to the layer with weights that it comes from
    behind: dict[str, str] = {}
    last = ""
    for layer in layers:
        source = writer.get(layer.bottoms[0], "") if layer.bottoms else ""
        if layer.blobs:
            behind[layer.name] = source if layer.bottoms else last
            source = layer.name
            if layer.name not in known:
                last = layer.name
        for top in layer.tops:
            writer[top] = source
    return behind

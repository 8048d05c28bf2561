"""Decimation of VGG-16's fc6: fewer taps, fewer channels (Chen et al. 2015, sections 3.2 and 5)."""

from typing import Literal

import torch
from torch import Tensor


def tap_positions(taps: int, count: int) -> list[int] | None:
    """Return the indices of evenly spaced taps among `taps` along a side, including both ends.

    7 to 4 gives [0, 2, 4, 6]; 7 to 3 gives [0, 3, 6]; None if no even spacing includes both ends.

    Notes
    -----
    With dilations of 4, 8 and 12 cells, the 7, 4 and 3 selected taps read the same features as in VGG-16. "deeplab" and
    "deeplab-4x4" start from the same 4x4 weights, as in the paper, which only changes the input stride from 4 to 8; so
    "deeplab", with dilation 4, reads its features at half the distance. (Cropping to the middle four taps would read
    the original features with dilation 4, but the paper decimates.)
    """
    if count == taps:
        return list(range(taps))
    if not 1 < count < taps or (taps - 1) % (count - 1):
        return None
    return list(range(0, taps, (taps - 1) // (count - 1)))


def decimate(weight: Tensor, kernel: int) -> Tensor | None:
    """Select evenly spaced taps of (out, in, k, k) weights; None if that is not possible.

    Returns
    -------
    Tensor or None
        (out, in, kernel, kernel), a view.
    """
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        return None
    positions = tap_positions(weight.shape[2], kernel)
    if positions is None:
        return None
    step = positions[1] - positions[0] if len(positions) > 1 else 1
    return weight[:, :, ::step, ::step]


def channel_subset(channels: int, count: int, how: Literal["random", "fourth"], generator: torch.Generator) -> Tensor:
    """Return the indices of the selected channels in increasing order, (count,) int64.

    "random" draws without replacement; "fourth" selects evenly spaced ones from the first: every fourth for 1,024 of
    4,096.
    """
    if how == "random":
        return torch.randperm(channels, generator=generator)[:count].sort().values
    return torch.arange(count) * (channels // count)

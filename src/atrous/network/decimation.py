"""fc6 of VGG-16 made smaller: fewer taps, fewer channels (Chen et al. 2015, sections 3.2 and 5)."""

from typing import Literal

import torch
from torch import Tensor


def tap_positions(taps: int, kept: int) -> list[int] | None:
    """Return which of `taps` taps along a side remain, ends included and evenly spaced.

    7 to 4 keeps [0, 2, 4, 6]; 7 to 3 keeps [0, 3, 6]; None where no even spacing hits both ends.

    Notes
    -----
    With a hole of 4, 8 and 12 cells the 7, 4 and 3 kept taps meet the very features that they met in
    VGG-16. The basic "deeplab" has 4 taps at hole 4: the paper decimates to one and the same 4x4
    filter and then only changes its input stride from 4 to 8, so both start from the same numbers, and
    the filter of the basic network sees what it knows at half the distance. (The middle four taps
    would meet their old features at hole 4, but that is cropping, not the decimation that the paper
    describes.)
    """
    if kept == taps:
        return list(range(taps))
    if not 1 < kept < taps or (taps - 1) % (kept - 1):
        return None
    return list(range(0, taps, (taps - 1) // (kept - 1)))


def decimate(weight: Tensor, kernel: int) -> Tensor | None:
    """Keep evenly spaced taps of (out, in, k, k) weights; None where that is not possible.

    Returns
    -------
    Tensor or None
        (out, in, kernel, kernel), a view.
    """
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        return None
    kept = tap_positions(weight.shape[2], kernel)
    if kept is None:
        return None
    step = kept[1] - kept[0] if len(kept) > 1 else 1
    return weight[:, :, ::step, ::step]


def channel_subset(channels: int, kept: int, how: Literal["random", "fourth"], generator: torch.Generator) -> Tensor:
    """Return the indices, in rising order, of the channels to keep: (kept,) int64.

    "random" draws without repetition; "fourth" takes them evenly spaced from the first, which of 4,096
    for 1,024 is every fourth.
    """
    if how == "random":
        return torch.randperm(channels, generator=generator)[:kept].sort().values
    return torch.arange(kept) * (channels // kept)

"""Colormap of PASCAL VOC."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous.errors import InputError

VOID = 255  # VOC's void label: borders and difficult objects


def voc_palette(n: int = 256) -> NDArray[np.uint8]:
    """Return the first `n` colors of VOC's colormap, (n, 3) uint8 RGB.

    The bits of a label id are distributed over red, green and blue in turn, starting with the most significant bit of
    each color, so that close ids get distant colors (Everingham et al., VOC development kit, `VOClabelcolormap`).

    Examples
    --------
    >>> voc_palette(3).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    """
    ids = np.arange(n)
    colors = np.zeros((n, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colors[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colors


def full_palette(palette: ArrayLike | None) -> NDArray[np.uint8]:
    """Return 256 colors: the rows of `palette` (n, 3), then VOC's colors for the remaining ids."""
    colors = voc_palette()
    if palette is not None:
        given = np.asarray(palette)
        if given.ndim != 2 or given.shape[1] != 3 or len(given) > 256:
            raise InputError(f"palette: expected up to 256 rows of red, green, blue, got shape {given.shape}")
        colors[: len(given)] = given
    return colors

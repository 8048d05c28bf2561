"""Trimap: bands along the objects' outlines for scoring (Chen et al. 2015, section 5.2 and figure 6)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..labelmap.voc_colormap import VOID

WIDTHS = (1, 2, 5, 10, 20, 40)
"""Half-widths of the bands in pixels, as in the authors' evaluation."""


def near_void(truth: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """Return a mask of the pixels with a void pixel in the square of side 2 `width` + 1 around them.

    Parameters
    ----------
    truth : (H, W) uint8
        Class ids, 255 is void.
    width : int
        Half-width in pixels, 0 or more.

    Returns
    -------
    (H, W) bool
    """
    return _near(_integral(truth == VOID), width)


def band(truth: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """Return the band of a trimap: a mask of the labeled pixels within `width` of a void pixel, (H, W) bool.

    VOC's annotations have a border of void pixels around each object, so the band follows the outlines.

    Examples
    --------
    >>> band(np.array([[0, 0, 0, 255, 1, 1]], np.uint8), 1).astype(int)
    array([[0, 0, 1, 0, 1, 0]])
    """
    return near_void(truth, width) & (truth != VOID)


def rings(truth: NDArray[np.uint8], widths: Sequence[int] = WIDTHS) -> NDArray[np.uint8]:
    """Return the index of the narrowest band that contains each pixel, (H, W) uint8.

    Parameters
    ----------
    truth : (H, W) uint8
        Class ids, 255 is void.
    widths : sequence of int
        Increasing half-widths. Pixels outside all bands get the index after the last one.
    """
    integral = _integral(truth == VOID)
    ring = np.zeros(truth.shape, np.uint8)
    for width in widths:
        ring += ~_near(integral, width)
    return ring


def _integral(void: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the integral image, with a leading row and column of zeros."""
    sums = np.zeros((void.shape[0] + 1, void.shape[1] + 1), np.int32)
    np.cumsum(void, axis=0, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def _near(integral: NDArray[np.int32], width: int) -> NDArray[np.bool_]:
    # Four reads per pixel for any width. Counting in the window is equivalent to a dilation.
    height, breadth = integral.shape[0] - 1, integral.shape[1] - 1
    rows, columns = np.arange(height), np.arange(breadth)
    top, bottom = np.maximum(rows - width, 0), np.minimum(rows + width + 1, height)
    left, right = np.maximum(columns - width, 0), np.minimum(columns + width + 1, breadth)
    strips = integral[bottom] - integral[top]
    return strips[:, right] != strips[:, left]

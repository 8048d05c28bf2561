"""Upsampling of scores to probabilities at the image's size (Chen et al. 2015, section 3.2)."""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from .._parallel import map_ordered

# Number of pixels per band: with 21 classes, a band's scores fit into a second-level cache.
BAND_PIXELS = 8192

# Number of rows and columns whose scores are interpolated along the columns at a time, by one thread. A very wide image
# would otherwise need too much memory.
BLOCK = 256, BAND_PIXELS


def places(
    cells: int, inner: int, outer: int, stride: int = 8, *, pixels: slice = slice(None)
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the positions of the image's pixels between the cells of the score grid, along one side.

    Cell i lies on pixel `stride` * i of the network's input image. That image has `inner` pixels, without padding, and
    shows an image of `outer` pixels, so pixel y, with its center at y + 1/2, lies at (y + 1/2) * inner / outer - 1/2.
    For inner == outer this is interpolation with aligned corners.

    Parameters
    ----------
    cells : int
        Length of the score grid.
    inner, outer : int
        Lengths of the network's input image and of the image, in pixels.
    stride : int
    pixels : slice
        Range of pixels in steps of 1. Default: all.

    Returns
    -------
    first : (pixels,) int
        The cell before each pixel, at most the last but one.
    share : (pixels,) float32
        Weight of the cell after it, 0 to 1.
    """
    place = ((np.arange(*pixels.indices(outer)) + 0.5) * (inner / outer) - 0.5) / stride
    place = place.clip(0, cells - 1)
    first = np.minimum(place.astype(np.intp), max(cells - 2, 0))
    return first, (place - first).astype(np.float32)


def upsampled_probabilities(
    scores: NDArray[np.float32],
    inner: tuple[int, int],
    outer: tuple[int, int],
    *,
    classes: NDArray[np.intp] | None = None,
    stride: int = 8,
    threads: int | None = 1,
) -> NDArray[np.float32]:
    """Upsample scores bilinearly to the image's size and apply the softmax.

    Parameters
    ----------
    scores : (C, h, w) float32
        Scores of the network's input image, padded to 8 k - 7 a side.
    inner, outer : (height, width)
        Sizes of the network's input image without padding, and of the image.
    classes : (K,) int, optional
        Classes to return; the softmax is over all classes. Default: all.
    stride : int
        Step of the score grid in pixels.
    threads : int, optional
        Default: the number of processors. They do not change the result.

    Returns
    -------
    (C, H, W) float32, or (K, H, W)
        Probabilities, which sum to 1 over all classes.
    """
    height, width = outer
    out = np.empty((len(scores) if classes is None else len(classes), height, width), np.float32)

    def fill(block: tuple[slice, slice]) -> None:
        rows, columns = block
        upsampled = _upsampled_rows(scores, inner, outer, stride, rows, columns)
        for here in _parts(rows.stop - rows.start, max(1, BAND_PIXELS // (columns.stop - columns.start))):
            band = upsampled(here)
            band -= band.max(axis=0)
            np.exp(band, out=band)
            total = band.sum(axis=0)
            place = out[:, rows, columns][:, here]
            np.divide(band if classes is None else band[classes], total, out=place)

    blocks = list(product(_parts(height, BLOCK[0]), _parts(width, BLOCK[1])))
    for _ in map_ordered(fill, blocks, threads if len(blocks) > 1 else 1):
        pass
    return out


def _parts(length: int, most: int) -> Iterator[slice]:
    for start in range(0, length, most):
        yield slice(start, min(start + most, length))


def _upsampled_rows(
    scores: NDArray[np.float32],
    inner: tuple[int, int],
    outer: tuple[int, int],
    stride: int,
    rows: slice,
    columns: slice,
) -> Callable[[slice], NDArray[np.float32]]:
    """Return a function that maps a range of these rows to the scores of these columns, (C, rows, columns).

    The caller may overwrite the scores. Rows are counted from the first one.
    """
    _, h, w = scores.shape
    if stride == 1 and inner == outer:  # multi-scale prediction of a small image: every pixel has a score
        return lambda here: scores[:, rows, columns][:, here].copy()
    # Interpolate along the columns first, on the few neighboring rows of the grid.
    row, share = places(h, inner[0], outer[0], stride, pixels=rows)
    column, column_share = places(w, inner[1], outer[1], stride, pixels=columns)
    around = scores[:, row[0] : row[-1] + 2]
    wide = around[..., column]
    wide += _steps(around, axis=2)[..., column] * column_share
    steps = _steps(wide, axis=1)
    row = row - row[0]

    def interpolated(here: slice) -> NDArray[np.float32]:
        band = steps[:, row[here]]
        band *= share[here, None]
        band += wide[:, row[here]]
        return band

    return interpolated


def _steps(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Return the differences to the next value along an axis, 0 after the last."""
    return np.diff(values, axis=axis, append=values.take([-1], axis=axis))

"""From scores on the stride-8 grid to probabilities at the photo's size (Chen et al. 2015, section 3.2)."""

import numpy as np
from numpy.typing import NDArray

# Pixels that are zoomed at a time: with 21 classes a band's scores fit a second-level cache.
BAND_PIXELS = 8192


def interpolation(cells: int, inner: int, outer: int, stride: int = 8) -> NDArray[np.float32]:
    """Weights of linear interpolation along one side, as a matrix.

    Cell i lies on pixel `stride` * i of the image that the network saw. That image is `inner` pixels long (less
    the padding) and shows a photo `outer` pixels long, so the photo's pixel y, centred at y + 1/2, lies at
    (y + 1/2) * inner / outer - 1/2 there. For inner == outer this is the align-corners zoom.

    Parameters
    ----------
    cells : int
        Length of the score grid.
    inner, outer : int
        Pixels of the network's image and of the photo.

    Returns
    -------
    (outer, cells) float32
        Rows sum to 1 and have at most two entries that are not 0.
    """
    place = ((np.arange(outer) + 0.5) * (inner / outer) - 0.5) / stride
    place = place.clip(0, cells - 1)
    first = np.minimum(place.astype(np.int64), max(cells - 2, 0))
    share = (place - first).astype(np.float32)
    weights = np.zeros((outer, cells), np.float32)
    rows = np.arange(outer)
    weights[rows, first] = 1 - share
    if cells > 1:
        weights[rows, first + 1] += share
    return weights


def zoomed_probabilities(
    scores: NDArray[np.float32],
    inner: tuple[int, int],
    outer: tuple[int, int],
    *,
    kept: NDArray[np.intp] | None = None,
    stride: int = 8,
) -> NDArray[np.float32]:
    """Zoom scores bilinearly to the photo's size and take their softmax.

    Parameters
    ----------
    scores : (C, h, w) float32
        Of the image that the network saw, padded to 32 k - 31 a side.
    inner, outer : (height, width)
        Of the network's image without its padding, and of the photo.
    kept : (K,) int, optional
        Return the probabilities of these classes only; the softmax is over all.
    stride : int
        Pixels from one cell of `scores` to the next.

    Returns
    -------
    (C, H, W) float32, or (K, H, W)
        Probabilities; over all classes they sum to 1.
    """
    classes, h, w = scores.shape
    height, width = outer
    out = np.empty((classes if kept is None else len(kept), height, width), np.float32)
    # Columns first, on the few rows of the grid. A band of rows then mixes only the few grid rows that it spans.
    wide = scores @ interpolation(w, inner[1], width, stride).T
    down = interpolation(h, inner[0], height, stride)
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        weights = down[top : top + rows]
        spanned = np.flatnonzero(weights.any(axis=0))
        grid_rows = slice(spanned[0], spanned[-1] + 1)
        band = np.matmul(weights[:, grid_rows], wide[:, grid_rows])
        band -= band.max(axis=0)
        np.exp(band, out=band)
        total = band.sum(axis=0)
        np.divide(band if kept is None else band[kept], total, out=out[:, top : top + rows])
    return out

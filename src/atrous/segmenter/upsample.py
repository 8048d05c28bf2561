"""From scores on a coarser grid to probabilities at the photo's size (Chen et al. 2015, section 3.2)."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

# Pixels that are zoomed at a time: with 21 classes a band's scores fit a second-level cache.
BAND_PIXELS = 8192

# Rows and columns whose scores are interpolated along the columns at a time. All of a photo's would fill the memory if
# it is one long line.
BLOCK = 1024, BAND_PIXELS


def places(
    cells: int, inner: int, outer: int, stride: int = 8, *, pixels: slice = slice(None)
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Where the photo's pixels lie between the cells of the score grid, along one side.

    Cell i lies on pixel `stride` * i of the image that the network saw. That image is `inner` pixels long (less
    the padding) and shows a photo `outer` pixels long, so the photo's pixel y, centered at y + 1/2, lies at
    (y + 1/2) * inner / outer - 1/2 there. For inner == outer this is the align-corners zoom.

    Parameters
    ----------
    cells : int
        Length of the score grid.
    inner, outer : int
        Pixels of the network's image and of the photo.
    stride : int
    pixels : slice
        Those of the photo that are wanted, in steps of 1; all if left out.

    Returns
    -------
    first : (pixels,) int
        The cell before each pixel; the last but one at most.
    share : (pixels,) float32
        Weight of the cell after it, 0 to 1.
    """
    place = ((np.arange(*pixels.indices(outer)) + 0.5) * (inner / outer) - 0.5) / stride
    place = place.clip(0, cells - 1)
    first = np.minimum(place.astype(np.intp), max(cells - 2, 0))
    return first, (place - first).astype(np.float32)


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
        Of the image that the network saw, padded to 8 k - 7 a side.
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
    height, width = outer
    out = np.empty((len(scores) if kept is None else len(kept), height, width), np.float32)
    for rows in _parts(height, BLOCK[0]):
        for columns in _parts(width, BLOCK[1]):
            zoomed = _zoomed_rows(scores, inner, outer, stride, rows, columns)
            for here in _parts(rows.stop - rows.start, max(1, BAND_PIXELS // (columns.stop - columns.start))):
                band = zoomed(here)
                band -= band.max(axis=0)
                np.exp(band, out=band)
                total = band.sum(axis=0)
                place = out[:, rows, columns][:, here]
                np.divide(band if kept is None else band[kept], total, out=place)
    return out


def _parts(length: int, most: int) -> Iterator[slice]:
    for start in range(0, length, most):
        yield slice(start, min(start + most, length))


def _zoomed_rows(
    scores: NDArray[np.float32],
    inner: tuple[int, int],
    outer: tuple[int, int],
    stride: int,
    rows: slice,
    columns: slice,
) -> Callable[[slice], NDArray[np.float32]]:
    """Return a function from some of these rows of the photo to the scores of these columns, (C, rows, columns).

    The caller may overwrite them; rows are counted from the first.
    """
    _, h, w = scores.shape
    if stride == 1 and inner == outer:  # multi-scale prediction of a small photo: every pixel has its score
        return lambda here: scores[:, rows, columns][:, here].copy()
    # Columns first, on the few rows of the grid that lie around.
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
    """Differences to the next value along an axis, 0 after the last."""
    return np.diff(values, axis=axis, append=values.take([-1], axis=axis))

"""Connected regions of a label map, and the place for a name on each."""

import numpy as np
from numpy.typing import NDArray


def connected_regions(labels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Number the 4-connected regions of equal labels.

    Each region is named by the smallest flat index among its pixels. That minimum is passed along whole
    runs of equal labels, along rows and columns in turn, until nothing changes.

    Examples
    --------
    >>> connected_regions(np.array([[1, 1, 0], [0, 1, 0]], dtype=np.uint8))
    array([[0, 0, 2],
           [3, 0, 2]])
    """
    region = np.arange(labels.size).reshape(labels.shape)
    row_runs, column_runs = _runs(labels), _runs(labels.T)
    while True:
        spread = _spread(_spread(region, *row_runs).T, *column_runs).T
        if np.array_equal(spread, region):
            return region
        region = spread


def _runs(labels: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    begins = np.ones(labels.shape, dtype=bool)
    begins[:, 1:] = labels[:, 1:] != labels[:, :-1]
    return np.flatnonzero(begins), np.cumsum(begins).reshape(labels.shape) - 1


def _spread(region: NDArray[np.intp], starts: NDArray[np.intp], run: NDArray[np.intp]) -> NDArray[np.intp]:
    smallest: NDArray[np.intp] = np.minimum.reduceat(region.ravel(), starts)
    return smallest[run]


def box_sums(values: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Sum `values` (h, w) over every height x width box that lies inside: (h-height+1, w-width+1)."""
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    table[1:, 1:] = values.cumsum(0, dtype=np.float64).cumsum(1)
    sums = table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
    return sums.astype(np.float32)


def place_for_box(
    region: NDArray[np.bool_],
    objects: NDArray[np.bool_],
    taken: NDArray[np.bool_],
    height: int,
    width: int,
) -> tuple[int, int] | None:
    """Find where a name's box sits best: on its region if that is roomy, beside it if it is small.

    Parameters
    ----------
    region, objects, taken
        (h, w): the region to be named, all that is not background, and the boxes already placed.
    height, width
        The box, in cells of the same grid.

    Returns
    -------
    (row, column) of the box's first cell, the whole box inside the grid, or None where no place is free.
    """
    if height > region.shape[0] or width > region.shape[1]:
        return None
    area = height * width
    inside = box_sums(region.astype(np.float32), height, width)
    others = box_sums((objects & ~region).astype(np.float32), height, width) / area
    overlap = box_sums(taken.astype(np.float32), height, width) / area

    rows, columns = np.nonzero(region)
    row_offset = np.arange(inside.shape[0])[:, None] + height / 2 - (rows.mean() + 0.5)
    column_offset = np.arange(inside.shape[1])[None, :] + width / 2 - (columns.mean() + 0.5)
    distance = np.hypot(row_offset, column_offset) / np.hypot(*region.shape)

    hidden = inside / len(rows)
    merit = inside / area - 3 * hidden - others - 3 * distance
    merit = np.where(overlap > 0, -np.inf, merit)
    best = int(merit.argmax())
    if not np.isfinite(merit.flat[best]):
        return None
    row, column = divmod(best, merit.shape[1])
    return row, column

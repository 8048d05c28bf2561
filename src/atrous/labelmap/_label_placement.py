"""Placement of a region's name."""

import numpy as np
from numpy.typing import NDArray

# Faces are in the upper part of people and animals: a name is drawn toward this share of a region's height.
_LOW = 0.8


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
    """Return the best place for a name's box: low on its region if there is room, beside it if it is small.

    Parameters
    ----------
    region, objects, taken : (h, w) bool
        The region to be named, all regions that have names, and the boxes already placed.
    height, width : int
        Of the box, in cells of the same grid.

    Returns
    -------
    (row, column) or None
        The box's first cell, with the whole box inside the grid; None if no place is free.
    """
    if height > region.shape[0] or width > region.shape[1]:
        return None
    area = height * width
    inside = box_sums(region.astype(np.float32), height, width)
    others = box_sums((objects & ~region).astype(np.float32), height, width) / area
    overlap = box_sums(taken.astype(np.float32), height, width) / area

    rows, columns = np.nonzero(region)
    low = np.quantile(rows, _LOW)
    near = columns[np.abs(rows - low) <= height / 2]  # of the region at that height
    row_offset = np.arange(inside.shape[0])[:, None] + height / 2 - (low + 0.5)
    column_offset = np.arange(inside.shape[1])[None, :] + width / 2 - (near.mean() + 0.5)
    distance = np.hypot(row_offset, column_offset) / np.hypot(*region.shape)

    hidden = inside / len(rows)
    merit = inside / area - 6 * hidden - others - 3 * distance
    merit = np.where(overlap > 0, -np.inf, merit)
    best = int(merit.argmax())
    if not np.isfinite(merit.flat[best]):
        return None
    row, column = divmod(best, merit.shape[1])
    return row, column

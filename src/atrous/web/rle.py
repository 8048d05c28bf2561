"""Label maps as run lengths along the rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError


def encode_labels(labels: NDArray[np.uint8]) -> tuple[list[int], list[int]]:
    """Return the runs of (H, W) labels along the rows, top row first: the label and the length of each.

    Examples
    --------
    >>> encode_labels(np.array([[0, 7], [7, 7]], np.uint8))
    ([0, 7], [1, 3])
    """
    flat = labels.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    return flat[starts].tolist(), np.diff(starts, append=flat.size).tolist()


def decode_labels(
    values: Sequence[int], lengths: Sequence[int], size: tuple[int, int], name: str, max_pixels: int
) -> NDArray[np.uint8]:
    """Return the labels, (H, W) uint8, of runs along the rows; raise InputError, with that name, if they are none.

    Examples
    --------
    >>> decode_labels([0, 7], [1, 3], (2, 2), "strokes", 4)
    array([[0, 7],
           [7, 7]], dtype=uint8)
    """
    height, width = size
    if min(size) < 1 or height * width > max_pixels:
        raise InputError(f"{name}: expected 1 to {max_pixels} pixels, got {width}x{height}")
    if len(values) != len(lengths) or min(lengths) < 1 or sum(lengths) != height * width:
        raise InputError(f"{name}: expected a count above 0 for each label, {height * width} in all")
    if not 0 <= min(values) <= max(values) <= 255:
        raise InputError(f"{name}: expected labels from 0 to 255, got {min(values)} to {max(values)}")
    return np.repeat(np.array(values, np.uint8), lengths).reshape(size)

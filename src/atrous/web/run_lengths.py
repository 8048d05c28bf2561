"""Masks as run lengths, COCO's uncompressed form."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def encode(labels: NDArray[np.uint8]) -> dict[int, list[int]]:
    """Return the run lengths of each label that occurs.

    Parameters
    ----------
    labels : (H, W) uint8

    Returns
    -------
    dict of label to list of int
        Pixels are counted down the columns, the left one first: so many without the label, then so many with it,
        and so on in turn. The first count is 0 where the first pixel has the label. They sum to H * W.

    Examples
    --------
    >>> encode(np.array([[0, 7], [7, 7]], np.uint8))
    {0: [0, 1, 3], 7: [1, 3]}
    """
    flat = labels.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.append(starts[1:], flat.size)
    values = flat[starts]
    out = {}
    for label in np.unique(values):
        mine = values == label
        edges = np.stack([starts[mine], ends[mine]], axis=1).ravel()
        counts = np.diff(edges, prepend=0, append=flat.size).tolist()
        out[int(label)] = counts if counts[-1] else counts[:-1]
    return out


def decode(counts: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of run lengths, (H, W) bool.

    Examples
    --------
    >>> decode([1, 3], (2, 2)).astype(int)
    array([[0, 1],
           [1, 1]])
    """
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(size, order="F")

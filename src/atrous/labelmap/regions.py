"""Connected regions of a label map, and removal of small regions."""

import numpy as np
from numpy.typing import NDArray

from atrous.errors import InputError

# By default, regions of fewer pixels are removed from a label map of 513 x 513.
DEFAULT_MIN_REGION, _DEFAULT_AREA = 30, 513 * 513


def connected_regions(labels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Number the 4-connected regions of equal labels.

    Parameters
    ----------
    labels : (H, W) uint8

    Returns
    -------
    (H, W) int
        0 to n - 1, in the order of the regions' first pixels.

    Examples
    --------
    >>> connected_regions(np.array([[1, 1, 0], [0, 1, 0]], dtype=np.uint8))
    array([[0, 0, 1],
           [2, 0, 1]])
    """
    runs = _Runs(labels)
    return runs.expand(runs.regions()).reshape(labels.shape)


def default_min_region(shape: tuple[int, ...]) -> int:
    """Return the default of `remove_small_regions` for a label map of shape (H, W): 30 pixels at 513 x 513."""
    return round(DEFAULT_MIN_REGION * shape[0] * shape[1] / _DEFAULT_AREA)


def remove_small_regions(labels: NDArray[np.uint8], min_region: int | None = None) -> NDArray[np.uint8]:
    """Give small regions the label of their largest neighbor.

    The smallest regions are merged first; a merged region may then be large enough to stay. Regions are 4-connected. A
    label map of a single region is never changed.

    Parameters
    ----------
    labels : (H, W) uint8
    min_region : int, optional
        Number of pixels from which a region is large enough; 0 or 1 changes nothing. Default: 30 for 513 x 513 pixels,
        in proportion to the area for other sizes.

    Returns
    -------
    (H, W) uint8
        A new array.

    Raises
    ------
    InputError
        If `min_region` is negative.

    Examples
    --------
    >>> remove_small_regions(np.array([[3, 3, 3], [3, 5, 3]], dtype=np.uint8), 2)
    array([[3, 3, 3],
           [3, 3, 3]], dtype=uint8)
    """
    if min_region is None:
        min_region = default_min_region(labels.shape)
    if min_region < 0:
        raise InputError(f"min_region={min_region}: expected a number of pixels, 0 to keep all regions")
    runs = _Runs(labels)
    region = runs.regions()
    sizes = np.bincount(region, runs.lengths).astype(np.intp)
    small = np.flatnonzero(sizes < min_region)
    if not len(small):
        return labels.copy()
    merged = _merged(sizes, small[np.argsort(sizes[small], kind="stable")], runs.neighbors(region), min_region)
    values = np.zeros(len(sizes), np.uint8)
    values[region] = runs.values
    return runs.expand(values[merged[region]]).reshape(labels.shape)


class _Runs:
    """Horizontal runs of equal labels: the elements of all computations, far fewer than the pixels."""

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        height, width = labels.shape
        starts = np.ones(labels.shape, bool)
        starts[:, 1:] = labels[:, 1:] != labels[:, :-1]
        self.starts = np.flatnonzero(starts)
        self.lengths = np.diff(self.starts, append=labels.size)
        self.values = labels.ravel()[self.starts]
        # Pairs of runs in adjacent rows that touch: the later start of both has one run above and one below.
        of_pixel = np.cumsum(starts.ravel()) - 1
        below = starts[1:] | starts[:-1]
        pixels = np.flatnonzero(below) + width if height > 1 else np.zeros(0, np.intp)
        self.vertical = of_pixel[pixels - width], of_pixel[pixels]
        # Pairs of runs side by side.
        right = np.flatnonzero(self.starts[1:] % max(width, 1)) + 1
        self.horizontal = right - 1, right

    def expand(self, values: NDArray) -> NDArray:  # type: ignore[type-arg]
        """Return the value of each run for each of its pixels."""
        return np.repeat(values, self.lengths)

    def regions(self) -> NDArray[np.intp]:
        """Return the index of each run's region."""
        above, below = self.vertical
        same = self.values[above] == self.values[below]
        above, below = above[same], below[same]
        # Hooking and pointer jumping (Shiloach and Vishkin 1982): each root joins the smallest root it touches.
        root = np.arange(len(self.starts))
        while True:
            first, second = root[above], root[below]
            low, high = np.minimum(first, second), np.maximum(first, second)
            open_pairs = low < high
            if not open_pairs.any():
                break
            np.minimum.at(root, high[open_pairs], low[open_pairs])
            while not np.array_equal(jumped := root[root], root):
                root = jumped
        _, numbers = np.unique(root, return_inverse=True)
        return numbers.astype(np.intp).ravel()

    def neighbors(self, region: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the pairs of adjacent regions, each pair once in each direction."""
        first = region[np.concatenate([self.vertical[0], self.horizontal[0]])]
        second = region[np.concatenate([self.vertical[1], self.horizontal[1]])]
        differ = first != second
        first, second = first[differ], second[differ]
        count = len(self.starts) + 1
        pairs = np.unique(np.concatenate([first * count + second, second * count + first]))
        return pairs // count, pairs % count


def _merged(
    sizes: NDArray[np.intp], small: NDArray[np.intp], pairs: tuple[NDArray[np.intp], NDArray[np.intp]], least: int
) -> NDArray[np.intp]:
    """Return the region that each region is merged into; `small` are the regions to merge, smallest first."""
    one, other = pairs
    ends = np.searchsorted(one, [small, small + 1])
    beside = {
        int(region): other[first:last].tolist() for region, first, last in zip(small, *ends.tolist(), strict=True)
    }
    parent = list(range(len(sizes)))
    size = sizes.tolist()

    def find(region: int) -> int:
        while parent[region] != region:
            parent[region] = parent[parent[region]]
            region = parent[region]
        return region

    for region in small.tolist():
        root = find(region)
        if size[root] >= least:
            continue
        around = {find(each) for each in beside[root]} - {root}
        if not around:
            continue
        largest = max(around, key=lambda each: (size[each], -each))
        parent[root] = largest
        size[largest] += size[root]
        if largest in beside:  # a small region may be merged again, with all its neighbors
            beside[largest] += beside[root]
    return np.array([find(region) for region in range(len(sizes))], np.intp)

"""Filter of `filtering="fine"`: one sum over neighboring lattice vertices instead of a blur along each axis.

Axis blurs pass values from vertex to vertex and lose mass at vertices that no point touches; in five dimensions most
are missing. The stencil is a weighted sum over all existing neighbors of a vertex, so K between two points does not
depend on the other points. The features are rotated first, because the lattice's error is largest along its axes and
an image's colors are mostly on one line.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from atrous import _native
from atrous.errors import InputError

# Splat and slice each add a variance of about 0.075. With the Gaussian cut off at this squared radius, 0.85 was
# closest to the exact mean field on 64 x 64 crops of photographs (benchmarks/accuracy.py).
_VARIANCE = 0.85
_REACH = 5.05

# Factors that give K the mass of the exact kernel: for 1 to 4 features with dense points, for 5 with photographs.
# With more features, the vertices within this radius are too few for a Gaussian, and within a larger one too many.
_SCALES = (1.10, 1.22, 1.39, 1.58, 1.84)
MOST_FINE_FEATURES = len(_SCALES)


def fine_lattice(
    features: NDArray[np.float32], line: int, threads: int, max_vertices: int | None = None
) -> _native.Filter:
    """Return the filter of ``exp(-|f_i - f_j|^2 / 2)``.

    Parameters
    ----------
    features : (d, N) array of float32
        Features divided by their standard deviations; d up to 5.
    line : int
        Number of points along the last axis.
    threads : int
    max_vertices : int, optional

    Raises
    ------
    InputError
        If a point has more than 5 features.
    OverflowError
        If the features or the lattice are too large.
    _native.LatticeTooLarge
        If the lattice has more than `max_vertices`.
    """
    dimensions = features.shape[0]
    if dimensions > MOST_FINE_FEATURES:
        raise InputError(
            f"filtering: expected at most {MOST_FINE_FEATURES} features per point for 'fine', positions and bands"
            f" together, got {dimensions}; use 'lattice', or 'exact' for few points"
        )
    offsets, weights = stencil(dimensions)
    rotated = np.einsum("ij,jn->in", _rotation(dimensions), features)
    return _native.lattice(rotated, threads, line, offsets, weights, max_vertices)


@lru_cache
def stencil(dimensions: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the offsets of the stencil, one of each opposite pair, and their weights.

    An offset has d + 1 coordinates, congruent modulo d + 1, with sum 0 (Adams et al. 2010, section 3.1).

    Returns
    -------
    offsets : (K, d + 1) array of int32
    weights : (K,) array of float32
    """
    side = dimensions + 1
    # Square of a unit of the features in lattice units, (d + 1) sqrt(2/3).
    unit = side * side * 2 / 3
    vectors: list[tuple[int, ...]] = []

    farthest = int(np.sqrt(_REACH * unit))

    def extend(vector: tuple[int, ...], remainder: int) -> None:
        left, rest = side - len(vector), -sum(vector)
        if left == 0:
            vectors.extend([vector] if rest == 0 else [])
            return
        # The remaining coordinates add the least length if they are equal.
        if sum(x * x for x in vector) + rest * rest / left > _REACH * unit:
            return
        for x in range(-farthest + (remainder + farthest) % side, farthest + 1, side):
            extend((*vector, x), remainder)

    for remainder in range(side):
        extend((), remainder)
    offsets = np.array([vector for vector in vectors if vector >= (0,) * side], np.int32)
    squares = (offsets.astype(np.float64) ** 2).sum(axis=1) / unit
    weights = _SCALES[dimensions - 1] * np.exp(-0.5 * squares / _VARIANCE)
    return offsets, weights.astype(np.float32)


def _rotation(dimensions: int) -> NDArray[np.float32]:
    """Return a rotation that maps no axis close to an axis: the Cayley transform of a fixed irregular matrix."""
    numbers = np.sqrt(119.0 * np.arange(1, dimensions**2 + 1)) % 1
    upper = np.triu(4 * (numbers.reshape(dimensions, dimensions) - 0.5), 1)
    skew = upper - upper.T
    return np.linalg.solve(np.eye(dimensions) + skew, np.eye(dimensions) - skew).astype(np.float32)

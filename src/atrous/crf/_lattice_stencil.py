"""The lattice at a third of its error: one sum over near vertices instead of a blur along each axis.

A blur along the lattice's axes passes from vertex to vertex, and what should pass through a vertex that no
point touches is lost; in five dimensions most are missing. Here each vertex takes from all that exist around
it with a Gaussian weight of its own, so K between two points no longer depends on where the others are. The
features are turned first, since the lattice errs most along its axes and a photo's colors lie along one line.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from atrous import _native
from atrous.errors import InputError

# Splatting to vertices and slicing spread a point by about 0.075 each. With fewer vertices in reach than the
# Gaussian has, 0.85 and this radius (squared) came nearest to the exact mean field on 64 x 64 parts of
# photographs (benchmarks/accuracy.py).
_VARIANCE = 0.85
_REACH = 5.05

# What gives K the mass of the exact kernel, for 1 to 4 features over points that lie dense, for 5 over photographs.
# With more features the vertices in this reach are too few for a Gaussian, and those of a wider one too many.
_SCALES = (1.10, 1.22, 1.39, 1.58, 1.84)
MOST_FINE_FEATURES = len(_SCALES)


def fine_lattice(
    features: NDArray[np.float32], line: int, threads: int, max_vertices: int | None = None
) -> _native.Filter:
    """Return the filter of ``exp(-|f_i - f_j|^2 / 2)``.

    Parameters
    ----------
    features : (d, N) array of float32
        Divided by their standard deviations; d is 5 at most.
    line : int
        Points along the last axis.
    threads : int
    max_vertices : int, optional

    Raises
    ------
    InputError
        If there are more than 5 features a point.
    OverflowError
        If the features are too large, or the lattice.
    _native.LatticeTooLarge
        If it has more than `max_vertices`.
    """
    dimensions = features.shape[0]
    if dimensions > MOST_FINE_FEATURES:
        raise InputError(
            f"filtering: expected at most {MOST_FINE_FEATURES} features a point for 'fine', places and bands together,"
            f" got {dimensions}; use 'lattice', or 'exact' for few points"
        )
    offsets, weights = stencil(dimensions)
    turned = np.einsum("ij,jn->in", _rotation(dimensions), features)
    return _native.lattice(turned, threads, line, offsets, weights, max_vertices)


@lru_cache
def stencil(dimensions: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the lattice's vectors in reach, one of each opposite pair, and their weights.

    A vector has d + 1 coordinates with one remainder modulo d + 1 and sum 0 (Adams et al. 2010, section 3.1).

    Returns
    -------
    offsets : (K, d + 1) array of int32
    weights : (K,) array of float32
    """
    side = dimensions + 1
    # One unit of the features is (d + 1) sqrt(2/3) of the lattice's.
    unit = side * side * 2 / 3
    found: list[tuple[int, ...]] = []

    farthest = int(np.sqrt(_REACH * unit))

    def extend(vector: tuple[int, ...], remainder: int) -> None:
        left, rest = side - len(vector), -sum(vector)
        if left == 0:
            found.extend([vector] if rest == 0 else [])
            return
        # What is left is shortest if it is shared out evenly.
        if sum(x * x for x in vector) + rest * rest / left > _REACH * unit:
            return
        for x in range(-farthest + (remainder + farthest) % side, farthest + 1, side):
            extend((*vector, x), remainder)

    for remainder in range(side):
        extend((), remainder)
    offsets = np.array([vector for vector in found if vector >= (0,) * side], np.int32)
    squares = (offsets.astype(np.float64) ** 2).sum(axis=1) / unit
    weights = _SCALES[dimensions - 1] * np.exp(-0.5 * squares / _VARIANCE)
    return offsets, weights.astype(np.float32)


def _rotation(dimensions: int) -> NDArray[np.float32]:
    """Return a rotation that leaves no axis near another one: Cayley's, of numbers without a pattern."""
    numbers = np.sqrt(119.0 * np.arange(1, dimensions**2 + 1)) % 1
    upper = np.triu(4 * (numbers.reshape(dimensions, dimensions) - 0.5), 1)
    skew = upper - upper.T
    return np.linalg.solve(np.eye(dimensions) + skew, np.eye(dimensions) - skew).astype(np.float32)

"""Pairwise terms: a lattice, its normalization and what labels gain from it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atrous import _native
from atrous.errors import InputError
from atrous.pydensecrf.constants import NormalizationType

_MOST_FEATURES = 255
_ROWS_OF_A_TILE = 2**16 - 1
_POINTS_OF_A_TILE = 3840


@dataclass(frozen=True, eq=False)
class Pairwise:
    """One kernel's term: ``gains . (after * K (before * Q))``.

    Attributes
    ----------
    features : (d, N) array of float32
        Of each point, in standard deviations, finite.
    gains : (C,) or (C, C) array of float32
        See `compatibility_gains`.
    normalization : NormalizationType
    filter : native filter
        K.
    before : (N,) array of float32, or None for ones
    after : (N,) array of float32
    """

    features: NDArray[np.float32]
    gains: NDArray[np.float32]
    normalization: NormalizationType
    filter: _native.Filter
    before: NDArray[np.float32] | None
    after: NDArray[np.float32]

    @property
    def normalized(self) -> bool:
        """Whether messages are averages."""
        return self.normalization != NormalizationType.NO_NORMALIZATION

    @property
    def potts(self) -> bool:
        """Whether each label gains as much from itself, and nothing from others."""
        return self.gains.ndim == 1 and bool(self.gains[0] >= 0 and (self.gains == self.gains[0]).all())

    def add_to(self, model: _native.Model) -> None:
        """Add the term to a native model."""
        after = self.normalization == NormalizationType.NORMALIZE_AFTER
        weight = float(np.abs(self.gains).max()) if self.normalized else math.inf
        model.add(self.filter, self.before, self.after, self.gains, 1.0 if after else None, weight, float16=False)

    def message(self, q: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
        """Return what scores gain from (C, N) marginals."""
        filtered = np.empty_like(q)
        self.filter.apply(q if self.before is None else q * self.before, filtered, threads)
        filtered *= self.after
        return self.gains[:, None] * filtered if self.gains.ndim == 1 else self.gains.T @ filtered


def points_of_a_tile(dimensions: int) -> int:
    """Return the most points of a lattice's tile: 16 bits number what they and the origin touch."""
    return min(_POINTS_OF_A_TILE, _ROWS_OF_A_TILE // (dimensions + 1) - 1)


def pairwise(
    features: NDArray[np.float32],
    gains: NDArray[np.float32],
    normalization: NormalizationType,
    *,
    line: int,
    tile_points: int,
    threads: int,
) -> Pairwise:
    """Build the lattice of some features and its normalization.

    `line` is the number of points in a row of pixels, 0 for points without rows. Raises InputError if the features do
    not fit the lattice; the message begins with "features".
    """
    dimensions, points = features.shape
    if dimensions > _MOST_FEATURES:
        raise InputError(
            f"features: expected at most {_MOST_FEATURES} for each point, got {dimensions};"
            " reduce them (for example by PCA)"
        )
    if points * (dimensions + 1) >= 2**32 - 1:
        raise InputError(
            f"features: expected at most {2**32 // (dimensions + 1)} points of {dimensions} features, got {points};"
            " cut the data into parts"
        )
    # pydensecrf takes points four by four and fills up the last four with the origin.
    options = {"line": line, "tile_points": tile_points, "origin": points % 4 != 0}
    try:
        lattice = _native.lattice(features, threads, **options)
    except OverflowError:  # far from 0 perhaps, as places on a map are; but a kernel knows only differences
        near = features - features.min(axis=1, keepdims=True)
        try:
            lattice = _native.lattice(near, threads, **options)
        except OverflowError:
            raise InputError(
                f"features: too far apart for the lattice, they span {near.max():.3g} standard deviations;"
                " divide by larger standard deviations (sxy, srgb)"
            ) from None
    before, after = _factors(lattice, dimensions, normalization, threads)
    return Pairwise(features, gains, normalization, lattice, before, after)


def _factors(
    lattice: _native.Filter, dimensions: int, normalization: NormalizationType, threads: int
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32]]:
    ones = np.ones(lattice.points, np.float32)
    if normalization == NormalizationType.NO_NORMALIZATION:
        # Both lattices hold the kernel up to a constant, here for the integral of exp(-|x|^2 / 2).
        volume = (4 * math.pi / 3) ** (dimensions / 2)
        constant = volume * math.sqrt(dimensions + 1) / 2.0 ** (dimensions + 1)
        return None, ones * np.float32(1 / (1 + 2.0**-dimensions) / constant)
    mass = np.empty(lattice.points, np.float32)
    lattice.mass(mass, threads)
    if normalization == NormalizationType.NORMALIZE_SYMMETRIC:
        root = np.reciprocal(np.sqrt(mass))
        return root, root
    whole = np.reciprocal(mass)
    return (None, whole) if normalization == NormalizationType.NORMALIZE_AFTER else (whole, ones)

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
    """One kernel's term: ``gains . (post_scale * K (pre_scale * Q))``.

    Attributes
    ----------
    features : (d, N) array of float32
        Of each point, in standard deviations, finite.
    gains : (C,) or (C, C) array of float32
        See `compatibility_gains`.
    normalization : NormalizationType
    filter : native filter
        K.
    pre_scale : (N,) array of float32, or None for ones
    post_scale : (N,) array of float32
    """

    features: NDArray[np.float32]
    gains: NDArray[np.float32]
    normalization: NormalizationType
    filter: _native.Filter
    pre_scale: NDArray[np.float32] | None
    post_scale: NDArray[np.float32]

    @property
    def normalized(self) -> bool:
        """True if messages are weighted averages."""
        return self.normalization != NormalizationType.NO_NORMALIZATION

    @property
    def potts(self) -> bool:
        """True if the compatibility is Potts: each label gains equally from itself, and not from others."""
        return self.gains.ndim == 1 and bool(self.gains[0] >= 0 and (self.gains == self.gains[0]).all())

    def add_to(self, model: _native.Model) -> None:
        """Add the term to a native model."""
        total = 1.0 if self.normalization == NormalizationType.NORMALIZE_AFTER else None
        weight = float(np.abs(self.gains).max()) if self.normalized else math.inf
        model.add(self.filter, self.pre_scale, self.post_scale, self.gains, total, weight, float16=False)

    def message(self, q: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
        """Return the term's part of the scores, given (C, N) marginals."""
        filtered = np.empty_like(q)
        self.filter.apply(q if self.pre_scale is None else q * self.pre_scale, filtered, threads)
        filtered *= self.post_scale
        return self.gains[:, None] * filtered if self.gains.ndim == 1 else self.gains.T @ filtered


def points_of_a_tile(dimensions: int) -> int:
    """Return the maximum points of a lattice tile, whose vertices, and those of the origin, are numbered in 16 bits."""
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
    # pydensecrf processes points in groups of four and pads the last group with the origin.
    options = {"line": line, "tile_points": tile_points, "origin": points % 4 != 0}
    try:
        lattice = _native.lattice(features, threads, **options)
    except OverflowError:  # perhaps far from 0, such as positions on a map; a kernel depends on differences only
        near = features - features.min(axis=1, keepdims=True)
        try:
            lattice = _native.lattice(near, threads, **options)
        except OverflowError:
            raise InputError(
                f"features: too far apart for the lattice, they span {near.max():.3g} standard deviations;"
                " divide by larger standard deviations (sxy, srgb)"
            ) from None
    pre_scale, post_scale = _factors(lattice, dimensions, normalization, threads)
    return Pairwise(features, gains, normalization, lattice, pre_scale, post_scale)


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

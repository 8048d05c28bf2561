"""One kernel of the CRF with its normalisation and its compatibility."""

import math

import numpy as np
from numpy.typing import NDArray

from atrous import _native
from atrous.errors import InputError
from atrous.pydensecrf.constants import NormalizationType

_MOST_FEATURES = 16
_TOGETHER = 4


def padded_points(points: int) -> int:
    """Return how many points a lattice for `points` of them needs to have the vertices of pydensecrf's.

    pydensecrf goes through the points four by four, and fills up the last four with points at the origin. These
    carry no value, but the vertices around them take part in the blur; one such point stands for all.
    """
    return points if points % _TOGETHER == 0 else points + 1


class Pairwise:
    """Messages: scores += after * (gains . K (before * Q)).

    Parameters
    ----------
    features : (d, N) array of float32
        Of each point, in standard deviations, finite.
    gains : (C,) or (C, C) array of float32
        See `compatibility_gains`.
    normalization : NormalizationType
    threads : int

    Raises
    ------
    InputError
        If the features do not fit the lattice; the message begins with "features".
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        gains: NDArray[np.float32],
        normalization: NormalizationType,
        threads: int,
    ) -> None:
        dimensions, self.points = features.shape
        padded = padded_points(self.points)
        if padded != self.points:
            features = np.concatenate([features, np.zeros((dimensions, 1), np.float32)], axis=1)
        self.filter = _build_lattice(features, threads)
        self.gains = gains
        self._threads = threads

        present = np.ones(padded, np.float32)
        present[self.points :] = 0
        factor = _kernel_factor(dimensions)
        self.before: NDArray[np.float32] | None = None if padded == self.points else present
        self.after = np.full(padded, factor, np.float32)
        if normalization == NormalizationType.NO_NORMALIZATION:
            return
        mass = np.empty((1, padded), np.float32)
        self.filter.apply(present[None], mass, threads)
        norm = np.float64(factor) * mass[0] + 1e-20
        norm[self.points :] = 1
        if normalization == NormalizationType.NORMALIZE_SYMMETRIC:
            norm = np.sqrt(norm)
        if normalization != NormalizationType.NORMALIZE_AFTER:
            self.before = (present / norm).astype(np.float32)
        if normalization != NormalizationType.NORMALIZE_BEFORE:
            self.after = (factor / norm).astype(np.float32)

    def message(self, q: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the points' scores gain, (C, N) float32, for the marginals Q (C, N)."""
        values = np.zeros((q.shape[0], self.filter.points), np.float32)
        values[:, : self.points] = q
        if self.before is not None:
            values *= self.before
        filtered = np.empty_like(values)
        self.filter.apply(values, filtered, self._threads)
        filtered *= self.after
        gained = filtered * self.gains[:, None] if self.gains.ndim == 1 else self.gains @ filtered
        return gained[:, : self.points]


def _kernel_factor(dimensions: int) -> float:
    """Return the constant between this lattice's kernel and pydensecrf's.

    Splat, blur and slice give a unit 2^(d+1) of mass, over (3/2)^(d/2) / sqrt(d+1) of feature volume a vertex. The
    native lattice scales that to the integral of exp(-|x|^2 / 2); pydensecrf multiplies by 1 / (1 + 2^-d).
    """
    d = dimensions
    native = (2 * math.pi / 1.5) ** (d / 2) * math.sqrt(d + 1) / 2 ** (d + 1)
    return 1 / (1 + 2.0**-d) / native


def _build_lattice(features: NDArray[np.float32], threads: int) -> _native.Filter:
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
    try:
        return _native.lattice(features, threads)
    except OverflowError:
        reach = float(np.ptp(features, axis=1).max())
        raise InputError(
            f"features: too far apart for the lattice, they span {reach:.3g} standard deviations;"
            " divide by larger standard deviations (sxy, srgb)"
        ) from None

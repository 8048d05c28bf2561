"""Adding a kernel to the native model."""

import numpy as np
from numpy.typing import NDArray

from atrous import _native
from atrous.errors import InputError
from atrous.pydensecrf.constants import NormalizationType

_MOST_FEATURES = 255


def add_kernel(
    model: _native.SequentialModel,
    features: NDArray[np.float32],
    gains: NDArray[np.float32],
    normalization: NormalizationType,
    threads: int,
) -> None:
    """Build the lattice of some features and add its kernel.

    Parameters
    ----------
    features : (d, N) array of float32
        Of each point, in standard deviations, finite.
    gains : (C,) or (C, C) array of float32
        See `compatibility_gains`.

    Raises
    ------
    InputError
        If the features do not fit the lattice; the message begins with "features".
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
    symmetric = normalization == NormalizationType.NORMALIZE_SYMMETRIC
    before = symmetric or normalization == NormalizationType.NORMALIZE_BEFORE
    after = symmetric or normalization == NormalizationType.NORMALIZE_AFTER
    try:
        model.add(features, before, after, gains, threads)
    except OverflowError:  # far from 0 perhaps, as places on a map are; but a kernel knows only differences
        near = features - features.min(axis=1, keepdims=True)
        try:
            model.add(near, before, after, gains, threads)
        except OverflowError:
            raise InputError(
                f"features: too far apart for the lattice, they span {near.max():.3g} standard deviations;"
                " divide by larger standard deviations (sxy, srgb)"
            ) from None

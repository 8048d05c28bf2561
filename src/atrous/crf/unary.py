"""What is known of each pixel alone, checked."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous.errors import InputError

# Probabilities written in a lower precision may sum to a little more than 1.
_LARGEST_PROBABILITY = 1.001

# Beyond, a message would be lost in float32 and sums could overflow.
_LARGEST_ENERGY = 1.0001e30


def check_unary(
    probabilities: ArrayLike | None,
    energies: ArrayLike | None,
    shape: tuple[int, ...],
    dtype: type[np.floating[Any]],
) -> tuple[NDArray[Any], bool]:
    """Return probabilities or energies as a contiguous (C, N) array, and whether they are energies.

    Raises InputError unless exactly one of both is given, of shape (C, *shape) and with values that can be
    used: probabilities between 0 and 1, energies finite.
    """
    if (probabilities is None) == (energies is None):
        raise InputError("probabilities: expected either probabilities or energies=, got both or neither")
    name, given = ("probabilities", probabilities) if energies is None else ("energies", energies)
    expected = f"(C, {', '.join(map(str, shape))})"
    array = np.asarray(given)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name}: expected an array {expected} of float, got {array.dtype}")
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape or array.shape[0] == 0:
        raise InputError(f"{name}: expected shape {expected}, labels first, got {array.shape}")
    with np.errstate(over="ignore"):
        planes = np.ascontiguousarray(array.reshape(array.shape[0], math.prod(shape)), dtype=dtype)

    low, high = float(planes.min()), float(planes.max())
    if energies is not None:
        if not (low >= -_LARGEST_ENERGY and high <= _LARGEST_ENERGY):
            raise InputError(
                f"energies: expected finite values up to {_LARGEST_ENERGY:g}, got {low} to {high};"
                " replace NaN and infinities"
            )
    elif not (low >= 0 and high <= _LARGEST_PROBABILITY):
        raise InputError(
            f"probabilities: expected values from 0 to 1, got {low} to {high};"
            " apply a softmax to scores, or pass energies="
        )
    return planes, energies is not None

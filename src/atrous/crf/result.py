"""Result of an inference, and checks of its settings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous._resources import is_integer
from atrous.errors import InputTypeError


@dataclass(frozen=True, eq=False)
class Inference:
    """Result of mean field inference for one unary term.

    Attributes
    ----------
    probabilities : (C, *shape) or (*shape, C) array of float32
        The marginals Q, in the unary term's layout.
    labels : array of `shape`, uint8 (uint16 or int32 if there are more labels)
        The most probable label of each point.
    steps : int
        Number of mean field steps: `iterations`, or fewer with a `tolerance`.
    active_labels : (K,) array of int
        Labels that were not pruned. The others have probability 0.
    energy : (steps + 1,) array of float64, or None
        Expected energy under the Q before the first step and after each: ``sum_i sum_a Q_ia unary_ia +
        1/2 sum_ij sum_ab mu_ab Q_ia W_ij Q_jb`` with W the weighted and normalized kernels, all pairs of
        points and each point with itself. None unless traced.
    divergence : (steps + 1,) array of float64, or None
        Energy less the entropy of Q: the Kullback-Leibler divergence from the CRF's distribution to Q, up to
        the constant ``log Z``. No step increases it if all weights and compatibility vectors are nonnegative and the
        normalization is "symmetric" or "none"; with other normalizations W is not symmetric. None unless traced.
    """

    probabilities: NDArray[np.floating[Any]]
    labels: NDArray[np.integer[Any]]
    steps: int
    active_labels: NDArray[np.intp]
    energy: NDArray[np.float64] | None = None
    divergence: NDArray[np.float64] | None = None


def check_iterations(iterations: int) -> int:
    """Return `iterations`, or raise InputError."""
    if not is_integer(iterations) or not 0 <= iterations < 2**31:
        error = InputTypeError.unless(is_integer(iterations))
        raise error(f"iterations: expected an integer, 0 or more, got {iterations!r}")
    return int(iterations)


def check_fraction(name: str, value: float) -> float:
    """Return `value`, or raise InputError about the argument `name` unless it is a number from 0 to 1."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        error = InputTypeError.unless(number)
        raise error(f"{name}: expected a number from 0 to 1, got {value!r}")
    return float(value)


def label_type(labels: int) -> np.dtype[Any]:
    """Return the smallest dtype for label ids below `labels`."""
    return np.dtype(np.uint8 if labels <= 2**8 else np.uint16 if labels <= 2**16 else np.int32)

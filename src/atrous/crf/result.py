"""Results of an inference, and checks of its settings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous._resources import is_integer
from atrous.errors import InputTypeError


@dataclass(frozen=True, eq=False)
class Inference:
    """What mean field found for one unary term, and how it came there.

    Attributes
    ----------
    probabilities : (C, *shape) or (*shape, C) array of float32
        The marginals Q, labels where those of the unary term were.
    labels : array of `shape`, uint8 (uint16, int32 where there are more labels)
        The most probable label of each point.
    steps : int
        Mean field steps that were taken: `iterations`, or fewer with a `tolerance`.
    kept : (K,) array of int
        Labels that took part until the end; the others were pruned, their probability is 0.
    energy : (steps + 1,) array of float64, or None
        Expected energy under the Q before the first step and after each: ``sum_i sum_a Q_ia unary_ia +
        1/2 sum_ij sum_ab mu_ab Q_ia W_ij Q_jb`` with W the weighted and normalized kernels, all pairs of
        points and each point with itself. Only of a traced inference.
    divergence : (steps + 1,) array of float64, or None
        Energy less the entropy of Q: the Kullback-Leibler divergence from the CRF's distribution to Q, up to
        the constant ``log Z``. No step makes it larger if all weights and gains are positive or 0 and the
        normalization is "symmetric" or "none": otherwise W is not symmetric and the steps do not descend on it.
    """

    probabilities: NDArray[np.floating[Any]]
    labels: NDArray[np.integer[Any]]
    steps: int
    kept: NDArray[np.intp]
    energy: NDArray[np.float64] | None = None
    divergence: NDArray[np.float64] | None = None


def check_iterations(iterations: int) -> int:
    """Return the number of steps, or raise InputError."""
    if not is_integer(iterations) or not 0 <= iterations < 2**31:
        error = InputTypeError.unless(is_integer(iterations))
        raise error(f"iterations: expected an integer, 0 or more, got {iterations!r}")
    return int(iterations)


def check_fraction(name: str, value: float) -> float:
    """Return a number from 0 to 1, or raise InputError that begins with `name`."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        error = InputTypeError.unless(number)
        raise error(f"{name}: expected a number from 0 to 1, got {value!r}")
    return float(value)


def label_type(labels: int) -> np.dtype[Any]:
    """Return the smallest type that holds a label."""
    return np.dtype(np.uint8 if labels <= 2**8 else np.uint16 if labels <= 2**16 else np.int32)

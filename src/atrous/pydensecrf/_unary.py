"""The unary terms: energies of each label at each point."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous.errors import InputError
from atrous.pydensecrf._validation import as_float32, check_finite

_LARGEST = np.float32(1e30)  # beyond, sums could overflow float32


class Unary:
    """Energies (labels, points), lower for a likelier label; a base class, which holds none."""

    energies: NDArray[np.float32] | None = None


class ConstUnary(Unary):
    """Energies as they are.

    Parameters
    ----------
    u : (labels, points) array_like
        Such as minus the log of probabilities. Infinity stands for an impossible label.

    Raises
    ------
    InputError
        If a value is NaN or minus infinity, or all labels of a point are impossible.
    """

    def __init__(self, u: ArrayLike) -> None:
        self.energies = check_energies("u", as_float32("u", u, (None, None)))


class LogisticUnary(Unary):
    """Energies of logistic regression, ``L @ f``.

    Parameters
    ----------
    L : (labels, features) array_like
    f : (features, points) array_like

    Raises
    ------
    InputError
        If the shapes do not fit or a value is not finite.
    """

    def __init__(self, L: ArrayLike, f: ArrayLike) -> None:
        self.energies = check_energies("L @ f", logistic_energies("L", L, f))


def logistic_energies(name: str, weights: ArrayLike, features: ArrayLike) -> NDArray[np.float32]:
    """Return the product of (labels, features) and (features, points); raise InputError if there is none."""
    left = as_float32(name, weights, (None, None))
    right = as_float32("f", features, (left.shape[1], None))
    check_finite(name, left)
    check_finite("f", right)
    with np.errstate(over="ignore", invalid="ignore"):
        return left @ right


def check_energies(name: str, energies: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the energies, infinite ones at the largest that can be computed with.

    The array is changed in place. Raises InputError for NaN, minus infinity, or a point without a finite energy.
    """
    low, high = energies.min(), energies.max()
    if np.isnan(high) or low < -_LARGEST:
        raise InputError(
            f"{name}: expected energies, got {'NaN' if np.isnan(high) else low}; energies are -log(probability),"
            " infinite at most for labels that cannot be"
        )
    if high > _LARGEST:
        impossible = energies.min(axis=0) > _LARGEST
        if impossible.any():
            raise InputError(
                f"{name}: expected a finite energy at each point, got only infinite ones at point"
                f" {int(impossible.argmax())}; clip probabilities before the log"
            )
        np.minimum(energies, _LARGEST, out=energies)
    return energies

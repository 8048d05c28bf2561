"""Checks of arguments: one clear error where pydensecrf fails in C++ or computes nonsense."""

from collections.abc import Sequence
from enum import IntEnum
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from atrous.errors import InputError, InputTypeError

_Choice = TypeVar("_Choice", bound=IntEnum)


def as_array(name: str, value: object) -> NDArray[Any]:
    """Return it as an array, not copied where it is one; raise InputError if it cannot be one."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError):  # rows of different lengths, a tensor on another device
        raise InputTypeError(f"{name}: expected an array, got {type(value).__name__} that makes none") from None


def as_float32(name: str, value: object, shape: Sequence[int | None]) -> NDArray[np.float32]:
    """Return a contiguous copy in float32.

    Parameters
    ----------
    name : str
        What the error begins with.
    value : array_like of real numbers
        Any number type, any strides.
    shape : sequence of int or None
        What is expected; None for any length but 0.

    Raises
    ------
    InputError
        If it is no array of real numbers or has another shape.
    """
    expected = f"({', '.join('any' if length is None else str(length) for length in shape)})"
    array = as_array(name, value)
    if array.dtype.kind not in "fiu":
        got = type(value).__name__ if array.dtype.kind == "O" else str(array.dtype)
        raise InputTypeError(f"{name}: expected an array {expected} of float32, got {got}")
    fits = array.ndim == len(shape) and all(
        got == wanted or (wanted is None and got > 0) for got, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise InputError(f"{name}: expected shape {expected}, got {array.shape}")
    with np.errstate(over="ignore"):  # too large becomes infinite, which is then found
        return np.array(array, np.float32, order="C")


def check_finite(name: str, array: NDArray[np.float32]) -> None:
    """Raise InputError if a value is NaN or infinite."""
    if not np.isfinite(array).all():
        raise InputError(f"{name}: expected finite values in float32, got NaN or infinity")


def whole_number(name: str, value: object, least: int) -> int:
    """Return an integer, also where it is given as a float; raise InputError if it is none or under `least`."""
    right_type = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if right_type:
        number = float(value)  # type: ignore[arg-type]
        if number.is_integer() and number >= least:
            return int(number)
    raise InputTypeError.unless(right_type)(f"{name}: expected a whole number from {least} on, got {value!r}")


def standard_deviations(name: str, value: object, count: int) -> NDArray[np.float32]:
    """Return `count` standard deviations of a number, which stands for all of them, or a sequence.

    An infinite one takes no notice of an axis or channel. Raises InputError where there are fewer, or one is 0
    in float32 or NaN.
    """
    given = [value] * count if isinstance(value, Real) else value
    try:
        # pydensecrf reads the first ones and no more.
        array = np.array([float(given[i]) for i in range(count)], np.float64)  # type: ignore[index]
    except (TypeError, ValueError, OverflowError, IndexError, KeyError):
        raise InputError(f"{name}: expected a number or {count} of them, got {value!r}") from None
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if np.isnan(single).any() or (single == 0).any():
        raise InputError(f"{name}: expected standard deviations other than 0, got {value!r}")
    return single


def choice(name: str, value: object, choices: type[_Choice]) -> _Choice:
    """Return a constant of pydensecrf given as such or as its number; raise InputError for anything else."""
    right_type = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if right_type:
        try:
            return choices(int(value))  # type: ignore[call-overload]
        except ValueError:
            pass
    names = ", ".join(constant.name for constant in choices)
    raise InputTypeError.unless(right_type)(f"{name}: expected one of {names}, got {value!r}")


def compatibility_gains(compat: object, labels: int) -> NDArray[np.float32]:
    """Return how much a label gains from the messages of the labels, (labels,) or (labels, labels) float32.

    Minus the cost: a number w stands for Potts, cost -w where labels agree; a vector v for the cost +v where
    they agree, which is the sign that pydensecrf computes with; a matrix for a cost of each pair, made symmetric.

    Raises InputError where it is none of the three or does not fit the number of labels.
    """
    array = as_array("compat", compat)
    if array.dtype.kind not in "fiu" or array.ndim > 2:
        raise InputError(
            f"compat: expected a number, ({labels},) or ({labels}, {labels}) numbers, got"
            f" {f'shape {array.shape}' if array.dtype.kind in 'fiu' else type(compat).__name__}"
        )
    values = as_float32("compat", array, (labels,) * array.ndim)
    check_finite("compat", values)
    if array.ndim == 0:
        return np.full(labels, values, np.float32)
    if array.ndim == 1:
        return -values
    return np.float32(-0.5) * (values + values.T)

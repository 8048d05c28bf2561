"""Gaussian kernels of a fully connected CRF: their parameters and features."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, TypeGuard, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous.crf._array_interop import as_numpy
from atrous.errors import InputError, InputTypeError

Normalization: TypeAlias = Literal["none", "before", "after", "symmetric"]

# Keeps scores in the range of float32: a message may sum 2^32 pixels.
LARGEST_WEIGHT = 1e9


def check_normalization(normalization: object) -> None:
    """Raise InputError unless `normalization` is one of the four names."""
    if normalization not in get_args(Normalization):
        raise InputError(
            f"normalization: expected one of {', '.join(map(repr, get_args(Normalization)))}, got {normalization!r}"
        )


def check_compatibility(compatibility: ArrayLike | None, labels: int | None = None) -> NDArray[np.float64] | None:
    """Return a compatibility as an array, (C,) or (C, C), or None for Potts.

    Raises InputError for other shapes, for values that are not finite, and if `labels` differs from C.
    """
    if compatibility is None:
        return None
    try:
        array = np.asarray(compatibility, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputTypeError(
            f"compatibility: expected numbers, got {type(compatibility).__name__};"
            " pass None for Potts, a vector (C,) or a matrix (C, C)"
        ) from None
    if array.ndim not in (1, 2) or array.size == 0 or array.shape[0] != array.shape[-1]:
        raise InputError(f"compatibility: expected shape (C,) or (C, C), got {array.shape}; pass one entry per label")
    if not np.all(np.abs(array) <= LARGEST_WEIGHT):
        odd = array[~(np.abs(array) <= LARGEST_WEIGHT)][0]
        raise InputError(f"compatibility: expected finite costs up to {LARGEST_WEIGHT:g}, got {odd:g}")
    if labels is not None and array.shape[0] != labels:
        raise InputError(f"compatibility: expected one entry for each of the {labels} labels, got shape {array.shape}")
    return array


def _check_weight(weight: object) -> None:
    if not _is_number(weight) or not abs(weight) <= LARGEST_WEIGHT:
        error = InputTypeError.unless(_is_number(weight))
        raise error(f"weight: expected a finite number up to {LARGEST_WEIGHT:g}, got {weight!r}")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _sigmas(name: str, value: object) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) else (value,)
    if not values or not all(_is_number(v) and 1e-30 <= v <= 1e30 for v in values):
        error = InputTypeError.unless(all(map(_is_number, values)))
        raise error(f"{name}: expected a positive number or several (standard deviations), got {value!r}")
    return tuple(float(v) for v in values)


def _spread(name: str, value: object, count: int, of: str) -> tuple[float, ...]:
    """Return `count` standard deviations; a single one is repeated."""
    values = _sigmas(name, value)
    if len(values) not in (1, count):
        raise InputError(f"{name}: expected one standard deviation or {count}, {of}, got {value!r}")
    return values if len(values) == count else values * count


@dataclass(frozen=True, kw_only=True)
class Spatial:
    """Nearby points of a grid share a label: ``weight * exp(-|p_i - p_j|^2 / (2 sxy^2))``.

    Chen et al. 2015, equation 3, second kernel. Convolved on the grid; if `sxy` is above 25 pixels (10 in
    volumes) and the grid much larger, `DenseCRF` approximates it on the lattice, whose time does not depend on `sxy`.

    Parameters
    ----------
    weight : float
        Factor of the kernel.
    sxy : float, (float, float) or more
        Standard deviation in pixels, or one for each axis: ``(sx, sy)`` for an image, ``(sx, sy, sz)`` for a
        volume (D, H, W). With voxels of 0.8 x 0.8 x 5 mm, 4 mm are ``sxy=(4 / 0.8, 4 / 0.8, 4 / 5)``.
    compatibility : (C,) or (C, C) array_like, optional
        ``mu[a, b]``, the cost of label a at one pixel and b at the other; a vector rewards agreement in each
        label; Potts, ``mu = [a != b]``, gives the same marginals as a vector of ones. Default: the CRF's.
    normalization : "none", "before", "after" or "symmetric", optional
        Default: the CRF's.

    Raises
    ------
    InputError
        If a standard deviation is not positive and finite, or another argument is invalid.
    """

    weight: float
    sxy: float | tuple[float, ...]
    compatibility: ArrayLike | None = None
    normalization: Normalization | None = None

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        _sigmas("sxy", self.sxy)
        check_compatibility(self.compatibility)
        if self.normalization is not None:
            check_normalization(self.normalization)

    def __repr__(self) -> str:
        return _described(self)

    def sigmas(self, axes: int) -> tuple[float, ...]:
        """Return the standard deviation along each axis of an array, the slowest first: (..., sy, sx)."""
        return _spread("sxy", self.sxy, axes, "x first")[::-1]

    def features(
        self, image: NDArray[Any] | None, shape: tuple[int, ...], dtype: type[np.floating[Any]]
    ) -> NDArray[Any]:
        """Return (axes, N): x, y and so on, in standard deviations."""
        features = np.empty((len(shape), math.prod(shape)), dtype)
        _write_positions(features, shape, self.sigmas(len(shape)))
        return features


@dataclass(frozen=True, kw_only=True)
class Bilateral:
    """Nearby points of similar color share a label.

    ``weight * exp(-|p_i - p_j|^2 / (2 sxy^2) - |I_i - I_j|^2 / (2 srgb^2))``: Chen et al. 2015, equation 3,
    first kernel. Image and volume may have any bands: colors, depth, temperature, the channels of a scan.

    Parameters
    ----------
    weight : float
        Factor of the kernel.
    sxy : float, (float, float) or more
        Standard deviation in pixels, or one for each axis, x first, as for `Spatial`.
    srgb : float, (float, float, float) or any number of them
        Standard deviation in the unit of the image's values (0 to 255 for uint8), or one for each band.
    compatibility, normalization
        As for `Spatial`.

    Raises
    ------
    InputError
        If a standard deviation is not positive and finite, or another argument is invalid.
    """

    weight: float
    sxy: float | tuple[float, ...]
    srgb: float | tuple[float, ...]
    compatibility: ArrayLike | None = None
    normalization: Normalization | None = None

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        _sigmas("sxy", self.sxy)
        _sigmas("srgb", self.srgb)
        check_compatibility(self.compatibility)
        if self.normalization is not None:
            check_normalization(self.normalization)

    def __repr__(self) -> str:
        return _described(self)

    def sigmas(self, axes: int, bands: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the standard deviations along the axes, x first, and of the bands."""
        return _spread("sxy", self.sxy, axes, "x first"), _spread("srgb", self.srgb, bands, "one a band")

    def features(
        self, image: NDArray[Any] | None, shape: tuple[int, ...], dtype: type[np.floating[Any]]
    ) -> NDArray[Any]:
        """Return (axes + bands, N): x, y and so on, then the image's bands, in standard deviations."""
        if image is None:
            raise InputError("image: expected (H, W, 3) for the Bilateral kernel, got None")
        axes, bands = len(shape), image.shape[-1]
        features = np.empty((axes + bands, math.prod(shape)), dtype)
        sxy, srgb = self.sigmas(axes, bands)
        _write_positions(features, shape, sxy[::-1])
        for band, sigma in enumerate(srgb):
            _scale("image", image[..., band], sigma, features[axes + band].reshape(shape))
        return features


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Points with similar features share a label: ``weight * exp(-|f_i - f_j|^2 / 2)``.

    Parameters
    ----------
    features : (..., d) array_like of numbers
        Features divided by their standard deviations; d up to 16. The leading shape is the variables':
        (H, W) for an image, (D, H, W) for a volume, (N,) for a signal.
    weight : float
        Factor of the kernel.
    compatibility, normalization
        As for `Spatial`; keyword only.

    Raises
    ------
    InputError
        If a feature is not finite, or another argument is invalid.
    """

    values: ArrayLike
    weight: float
    compatibility: ArrayLike | None = None
    normalization: Normalization | None = None

    def __init__(
        self,
        features: ArrayLike,
        weight: float,
        *,
        compatibility: ArrayLike | None = None,
        normalization: Normalization | None = None,
    ) -> None:
        array = as_numpy("features", features)
        if array.dtype.kind not in "fiu":
            raise InputTypeError(
                "features: expected an array (..., d) of numbers, divided by their standard deviations,"
                f" got {array.dtype}"
            )
        if array.ndim < 2 or array.size == 0:
            raise InputError(
                f"features: expected shape (..., d) with at least one point and feature, got {array.shape}"
            )
        if array.dtype.kind == "f" and not np.isfinite(extent(array)).all():
            raise InputError("features: expected finite values, got NaN or infinity; remove or replace them")
        _check_weight(weight)
        check_compatibility(compatibility)
        if normalization is not None:
            check_normalization(normalization)
        object.__setattr__(self, "values", array)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "compatibility", compatibility)
        object.__setattr__(self, "normalization", normalization)

    def __repr__(self) -> str:
        return _described(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the variables."""
        return np.shape(self.values)[:-1]

    def features(
        self, image: NDArray[Any] | None, shape: tuple[int, ...], dtype: type[np.floating[Any]]
    ) -> NDArray[Any]:
        """Return the features as (d, N)."""
        values = np.asarray(self.values)
        features = np.empty((values.shape[-1], math.prod(shape)), dtype)
        for row, feature in enumerate(features):
            _scale("features", values[..., row], 1.0, feature.reshape(shape))
        return features


Kernel: TypeAlias = Spatial | Bilateral | Gaussian


def _described(kernel: Kernel) -> str:
    """Return the constructor call, without defaults and with shapes instead of arrays."""
    given = {field.name: getattr(kernel, field.name) for field in fields(kernel)}
    shown = ", ".join(
        f"{name}={value!r}" if np.ndim(value) == 0 or isinstance(value, tuple) else f"{name} of shape {np.shape(value)}"
        for name, value in given.items()
        if value is not None
    )
    return f"{type(kernel).__name__}({shown})"


def extent(values: NDArray[Any]) -> tuple[float, float]:
    """Return the smallest and the largest value, NaN if a value is NaN; allocates no array."""
    return float(values.min()), float(values.max())


def _write_positions(features: NDArray[Any], shape: tuple[int, ...], sigmas: tuple[float, ...]) -> None:
    """Fill the first rows with x, y and so on, in standard deviations; sigmas are in the order of the axes."""
    axes = len(shape)
    for row, axis in enumerate(reversed(range(axes))):
        positions = (np.arange(shape[axis]) / sigmas[axis]).astype(features.dtype)
        features[row].reshape(shape)[...] = positions.reshape(-1, *(1,) * row)


def _scale(name: str, values: NDArray[Any], sigma: float, out: NDArray[Any]) -> None:
    """Write values / sigma to `out`, minus a constant if their offset from 0 would cost digits."""
    if values.dtype.itemsize > 2:
        low, high = extent(values)
        if not max(abs(low), abs(high)) / sigma < float(np.finfo(out.dtype).max):
            raise InputError(
                f"{name}: expected finite values that fit {out.dtype} in standard deviations of {sigma:g},"
                f" got {low:g} to {high:g}"
            )
        if max(abs(low), abs(high)) > 2 * (high - low):
            values = values - values.min()  # in their own dtype, which may be more precise than float32
    np.divide(values, sigma, out=out, dtype=out.dtype, casting="same_kind")

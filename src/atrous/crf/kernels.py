"""The Gaussian kernels of a fully connected CRF, as small descriptions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeGuard, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous.errors import InputError

Normalization: TypeAlias = Literal["none", "before", "after", "symmetric"]

# Keep scores within float32 whatever the image: a message may sum 2^32 pixels.
LARGEST_WEIGHT = 1e9


def check_normalization(normalization: object) -> None:
    """Raise InputError unless it is one of the four names."""
    if normalization not in get_args(Normalization):
        raise InputError(
            f"normalization: expected one of {', '.join(map(repr, get_args(Normalization)))}, got {normalization!r}"
        )


def check_compatibility(compatibility: ArrayLike | None, labels: int | None = None) -> NDArray[np.float64] | None:
    """Return a compatibility as an array, (C,) or (C, C), or None for Potts.

    Raises InputError for other shapes, for values that are not finite, and where `labels` differs from C.
    """
    if compatibility is None:
        return None
    try:
        array = np.asarray(compatibility, np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"compatibility: expected numbers, got {type(compatibility).__name__};"
            " give None for Potts, a vector (C,) or a matrix (C, C)"
        ) from None
    if array.ndim not in (1, 2) or array.size == 0 or array.shape[0] != array.shape[-1]:
        raise InputError(f"compatibility: expected shape (C,) or (C, C), got {array.shape}; give one entry a label")
    if not np.all(np.abs(array) <= LARGEST_WEIGHT):
        raise InputError(f"compatibility: expected finite costs up to {LARGEST_WEIGHT:g}, got {array.tolist()}")
    if labels is not None and array.shape[0] != labels:
        raise InputError(f"compatibility: expected one entry for each of the {labels} labels, got shape {array.shape}")
    return array


def _check_weight(weight: object) -> None:
    if not _is_number(weight) or not abs(weight) <= LARGEST_WEIGHT:
        raise InputError(f"weight: expected a finite number up to {LARGEST_WEIGHT:g}, got {weight!r}")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _sigmas(name: str, value: object, count: int) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) else (value,)
    if len(values) == 1:
        values *= count
    if len(values) != count or not all(_is_number(v) and 1e-30 <= v <= 1e30 for v in values):
        raise InputError(f"{name}: expected a positive number or {count} of them (standard deviations), got {value!r}")
    return tuple(float(v) for v in values)


@dataclass(frozen=True, kw_only=True)
class Spatial:
    """Nearby pixels share a label: ``weight * exp(-|p_i - p_j|^2 / (2 sxy^2))``.

    Chen et al. 2015, equation 3, second kernel.

    Parameters
    ----------
    weight : float
        Times the kernel.
    sxy : float or (float, float)
        Standard deviation in pixels, or ``(sx, sy)``.
    compatibility : (C,) or (C, C) array_like, optional
        ``mu[a, b]``, the cost of label a at one pixel and b at the other; a vector rewards agreement in each
        label; None is Potts, ``mu = [a != b]``, the same as a vector of ones. Default: that of the CRF.
    normalization : {"none", "before", "after", "symmetric"}, optional
        Default: that of the CRF.

    Raises
    ------
    InputError
        If a standard deviation is not positive and finite, or another argument cannot be used.
    """

    weight: float
    sxy: float | tuple[float, float]
    compatibility: ArrayLike | None = None
    normalization: Normalization | None = None

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        _sigmas("sxy", self.sxy, 2)
        check_compatibility(self.compatibility)
        if self.normalization is not None:
            check_normalization(self.normalization)

    def sigmas(self) -> tuple[float, float]:
        """Return (sx, sy)."""
        sx, sy = _sigmas("sxy", self.sxy, 2)
        return sx, sy

    def features(
        self, image: NDArray[np.uint8] | None, shape: tuple[int, ...], dtype: type[np.floating[Any]]
    ) -> NDArray[Any]:
        """Return (2, H * W): x and y in standard deviations."""
        return _positions("sxy", self.sigmas(), shape, 2, dtype)


@dataclass(frozen=True, kw_only=True)
class Bilateral:
    """Nearby pixels of similar colour share a label.

    ``weight * exp(-|p_i - p_j|^2 / (2 sxy^2) - |I_i - I_j|^2 / (2 srgb^2))``: Chen et al. 2015, equation 3,
    first kernel.

    Parameters
    ----------
    weight : float
        Times the kernel.
    sxy : float or (float, float)
        Standard deviation in pixels, or ``(sx, sy)``.
    srgb : float or (float, float, float)
        Standard deviation in grey values of 0..255, or one for each channel.
    compatibility, normalization
        As for `Spatial`.

    Raises
    ------
    InputError
        If a standard deviation is not positive and finite, or another argument cannot be used.
    """

    weight: float
    sxy: float | tuple[float, float]
    srgb: float | tuple[float, float, float]
    compatibility: ArrayLike | None = None
    normalization: Normalization | None = None

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        _sigmas("sxy", self.sxy, 2)
        _sigmas("srgb", self.srgb, 3)
        check_compatibility(self.compatibility)
        if self.normalization is not None:
            check_normalization(self.normalization)

    def features(
        self, image: NDArray[np.uint8] | None, shape: tuple[int, ...], dtype: type[np.floating[Any]]
    ) -> NDArray[Any]:
        """Return (5, H * W): x, y, red, green and blue in standard deviations."""
        if image is None:
            raise InputError("image: expected (H, W, 3) uint8 for the Bilateral kernel, got None")
        features = _positions("sxy", _sigmas("sxy", self.sxy, 2), shape, 5, dtype)
        for channel, sigma in enumerate(_sigmas("srgb", self.srgb, 3)):
            np.divide(image[..., channel].reshape(-1), sigma, out=features[2 + channel], dtype=dtype)
        return features


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Points with similar features share a label: ``weight * exp(-|f_i - f_j|^2 / 2)``.

    Parameters
    ----------
    features : (..., d) array_like of float
        Already divided by their standard deviations. The leading shape is that of the variables: (H, W) for
        an image, (D, H, W) for a volume, (N,) for a signal.
    weight : float
        Times the kernel.
    compatibility, normalization
        As for `Spatial`; keyword only.

    Raises
    ------
    InputError
        If a feature is not finite, or another argument cannot be used.
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
        try:
            array = np.asarray(features)
            if array.dtype.kind not in "fiu":
                raise TypeError
        except (TypeError, ValueError):
            raise InputError(
                "features: expected an array (..., d) of numbers, divided by their standard deviations"
            ) from None
        if array.ndim < 2 or array.size == 0:
            raise InputError(
                f"features: expected shape (..., d) with one point and feature at least, got {array.shape}"
            )
        if not np.isfinite(array).all():
            raise InputError("features: expected finite values, got NaN or infinity; remove or replace them")
        _check_weight(weight)
        check_compatibility(compatibility)
        if normalization is not None:
            check_normalization(normalization)
        object.__setattr__(self, "values", array)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "compatibility", compatibility)
        object.__setattr__(self, "normalization", normalization)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the variables."""
        return np.shape(self.values)[:-1]

    def features(
        self, image: NDArray[np.uint8] | None, shape: tuple[int, ...], dtype: type[np.floating[Any]]
    ) -> NDArray[Any]:
        """Return (d, N), the features feature by feature."""
        values = np.asarray(self.values)
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(values.reshape(-1, values.shape[-1]).T, dtype=dtype)


Kernel: TypeAlias = Spatial | Bilateral | Gaussian


def _positions(
    name: str, sigmas: tuple[float, ...], shape: tuple[int, ...], rows: int, dtype: type[np.floating[Any]]
) -> NDArray[Any]:
    """Return (rows, H * W) whose first two rows are x / sx and y / sy; the rest is not set."""
    if len(shape) != 2:
        raise InputError(f"{name}: expected variables of shape (H, W), got {shape}; use Gaussian(features)")
    height, width = shape
    features = np.empty((rows, height * width), dtype)
    grid = features.reshape(rows, height, width)
    grid[0] = (np.arange(width) / sigmas[0]).astype(dtype)
    grid[1] = (np.arange(height) / sigmas[1]).astype(dtype)[:, None]
    return features


def check_variables(image: object, kernels: Sequence[Kernel]) -> tuple[NDArray[np.uint8] | None, tuple[int, ...]]:
    """Return the image as an array and the shape of the variables that image and kernels agree on.

    Raises InputError where they disagree or leave it open.
    """
    shapes = [kernel.shape for kernel in kernels if isinstance(kernel, Gaussian)]
    array: NDArray[np.uint8] | None = None
    if image is not None:
        array = np.asarray(image)
        if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8 or array.size == 0:
            raise InputError(
                f"image: expected (H, W, 3) uint8 with at least one pixel, got {array.shape} {array.dtype};"
                " convert it to RGB, 0..255"
            )
        shapes.insert(0, array.shape[:2])
    if not shapes:
        raise InputError("image: expected (H, W, 3) uint8, got None; only Gaussian(features) can do without one")
    if any(shape != shapes[0] for shape in shapes):
        raise InputError(
            f"features: expected one leading shape for image and kernels, got {', '.join(map(str, shapes))}"
        )
    return array, shapes[0]

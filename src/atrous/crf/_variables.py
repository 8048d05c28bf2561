"""Variables of a CRF: the shape of its points, and the image's axis of bands."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.crf._array_interop import as_numpy
from atrous.crf.kernels import Bilateral, Gaussian, Kernel, extent
from atrous.errors import InputError, InputTypeError

# Features of a point, and so bands of an image unless a kernel determines the number of other axes.
MOST_FEATURES = 16


def check_variables(image: object, kernels: Sequence[Kernel]) -> tuple[NDArray[Any] | None, tuple[int, ...]]:
    """Return the image as an array (*shape, bands) and the shape that image and kernels agree on.

    An image of two axes is grayscale, (H, W). With more axes the last one is its bands, unless a `Gaussian`'s features
    or an `sxy` of several entries determine that all axes are points.

    Raises InputError if the shapes differ or remain unknown, or if the image is invalid.
    """
    shapes = [kernel.shape for kernel in kernels if isinstance(kernel, Gaussian)]
    array: NDArray[Any] | None = None
    if isinstance(image, (list, tuple)) and any(getattr(one, "ndim", 0) == 3 for one in image):
        raise InputError(f"image: expected one image, got {len(image)}; call refine(images, ...) for several")
    if getattr(image, "mode", None) == "P":  # a Pillow image, whose numbers are places in its palette
        raise InputTypeError("image: expected colors or gray, got a palette image; call image.convert('RGB')")
    if image is not None:
        array = _with_bands(as_numpy("image", image), next(_axes(kernels), None))
        _check_values(array, kernels)
        shapes.insert(0, array.shape[:-1])
    if not shapes:
        raise InputError("image: expected (H, W, 3) uint8, got None; only Gaussian(features) needs none")
    if any(shape != shapes[0] for shape in shapes):
        raise InputError(
            f"features: expected one leading shape for image and kernels, got {', '.join(map(str, shapes))}"
        )
    return array, shapes[0]


def _axes(kernels: Sequence[Kernel]) -> Iterator[int]:
    """Iterate over the numbers of axes that kernels require."""
    for kernel in kernels:
        if isinstance(kernel, Gaussian):
            yield len(kernel.shape)
        elif np.size(kernel.sxy) > 1:
            yield np.size(kernel.sxy)


def _with_bands(array: NDArray[Any], axes: int | None) -> NDArray[Any]:
    if array.dtype.kind not in "fiub":
        raise InputTypeError(f"image: expected an array of numbers, (H, W, 3) or (..., bands), got {array.dtype}")
    if axes is None:
        if array.ndim > 2 and array.shape[-1] > MOST_FEATURES:
            remedy = " pass a volume as (D, H, W, 1), or a kernel's sxy as one number for each axis"
            if array.ndim in (3, 4) and array.shape[-3] in (1, 3, 4):
                each = "" if array.ndim == 3 else f" each of the {len(array)} images its own CRF,"
                remedy = f"{each} channels last: image.transpose(1, 2, 0), of a tensor image.permute(1, 2, 0)"
            raise InputError(f"image: expected its bands last, up to {MOST_FEATURES}, got {array.shape};{remedy}")
        axes = 2 if array.ndim == 2 else array.ndim - 1
    if axes < 1 or array.ndim not in (axes, axes + 1) or array.size == 0:
        points = {1: "N", 2: "H, W", 3: "D, H, W"}.get(axes, f"{axes} axes")
        raise InputError(f"image: expected ({points}, bands) or ({points}), with at least one point, got {array.shape}")
    return array if array.ndim == axes + 1 else array[..., None]


def _check_values(array: NDArray[Any], kernels: Sequence[Kernel]) -> None:
    if array.dtype.kind != "f":
        return
    low, high = extent(array)
    if not (np.isfinite(low) and np.isfinite(high)):
        got = "NaN" if np.isnan(low) else f"{low} to {high}"
        raise InputError(f"image: expected finite values, got {got}; replace NaN and infinities")
    for kernel in kernels:
        if isinstance(kernel, Bilateral):
            check_range(low, high, array.shape[-1], float(np.min(kernel.srgb)))


def check_range(low: float, high: float, bands: int, srgb: float) -> None:
    """Raise InputError for values from 0 to 1, or normalized as for a network, that `srgb` cannot tell apart.

    With the usual srgb for 0 to 255, all colors would count as equal.
    """
    scaled, normalized = 0 <= low < high <= 1, -10 <= low < 0 < high <= 10 and bands == 3
    if (scaled or normalized) and max(1, high - low) < srgb:
        remedy = "multiply by 255 for values from 0 to 255, or divide srgb" if scaled else "pass values from 0 to 255"
        raise InputError(
            f"image: expected values that srgb={srgb:g} can tell apart, got floats from {low:g} to {high:g}; {remedy}"
        )

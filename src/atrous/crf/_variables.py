"""The points that get labels: which axes of an image they are, and which axis is its bands."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atrous.crf._array_interop import as_numpy
from atrous.crf.kernels import Bilateral, Gaussian, Kernel, extent
from atrous.errors import InputError, InputTypeError

# Of features a point, and so of an image's bands unless a kernel says how many axes there are besides.
MOST_FEATURES = 16


def check_variables(image: object, kernels: Sequence[Kernel]) -> tuple[NDArray[Any] | None, tuple[int, ...]]:
    """Return the image as an array (*shape, bands) and the shape that image and kernels agree on.

    An image of two axes is gray, (H, W); with more, the last one is its bands, unless the features of a
    `Gaussian` or an `sxy` of several entries say that it has no other axes than the points'.

    Raises InputError where they disagree or leave it open, and for an image that cannot be used.
    """
    shapes = [kernel.shape for kernel in kernels if isinstance(kernel, Gaussian)]
    array: NDArray[Any] | None = None
    if isinstance(image, (list, tuple)) and any(getattr(one, "ndim", 0) == 3 for one in image):
        raise InputError(f"image: expected one image, got {len(image)}; call refine(images, ...) for several")
    if image is not None:
        array = _with_bands(as_numpy("image", image), next(_axes(kernels), None))
        _check_values(array, kernels)
        shapes.insert(0, array.shape[:-1])
    if not shapes:
        raise InputError("image: expected (H, W, 3) uint8, got None; only Gaussian(features) can do without one")
    if any(shape != shapes[0] for shape in shapes):
        raise InputError(
            f"features: expected one leading shape for image and kernels, got {', '.join(map(str, shapes))}"
        )
    return array, shapes[0]


def _axes(kernels: Sequence[Kernel]) -> Iterator[int]:
    """Iterate over the numbers of axes that kernels ask for."""
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
            remedy = " give a volume as (D, H, W, 1), or a kernel's sxy as one number for each axis"
            if array.ndim in (3, 4) and array.shape[-3] in (1, 3, 4):
                one = "image" if array.ndim == 3 else f"each of the {len(array)} images its own CRF, image"
                remedy = f" channels last: {one}.transpose(1, 2, 0)"
            raise InputError(f"image: expected its bands last, up to {MOST_FEATURES}, got {array.shape};{remedy}")
        axes = 2 if array.ndim == 2 else array.ndim - 1
    if axes < 1 or array.ndim not in (axes, axes + 1) or array.size == 0:
        points = {1: "N", 2: "H, W", 3: "D, H, W"}.get(axes, f"{axes} axes")
        raise InputError(f"image: expected ({points}, bands) or ({points}), with one point at least, got {array.shape}")
    return array if array.ndim == axes + 1 else array[..., None]


def _check_values(array: NDArray[Any], kernels: Sequence[Kernel]) -> None:
    if array.dtype.kind != "f":
        return
    low, high = extent(array)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"image: expected finite values, got {low} to {high}; replace NaN and infinities")
    # A photo from 0 to 1, or less its mean as networks are given it.
    scaled, normalized = 0 <= low < high <= 1, -10 <= low < 0 < high <= 10 and array.shape[-1] == 3
    for kernel in kernels:
        # With a photo's usual standard deviation all colors would be one.
        if isinstance(kernel, Bilateral) and (scaled or normalized) and max(1, high - low) < np.min(kernel.srgb):
            remedy = "multiply by 255, or divide srgb by it" if scaled else "give the photo itself, from 0 to 255"
            raise InputError(
                f"image: expected values that srgb={kernel.srgb} can tell apart, got floats from {low:g} to {high:g};"
                f" {remedy}"
            )

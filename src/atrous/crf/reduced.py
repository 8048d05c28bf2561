"""CRF of an image at half its size, for images whose lattice exceeds a limit."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atrous import _native
from atrous._resources import is_integer
from atrous.crf.kernels import Bilateral, Gaussian, Kernel, Normalization
from atrous.crf.result import Inference, label_type
from atrous.crf.unary import Channels, Unary
from atrous.errors import InputError

if TYPE_CHECKING:
    from atrous.crf.dense import DenseCRF

_LEAST_BOUND = 1000  # smallest max_vertices and max_points; one point has up to 17 vertices

# Default limit of small images. This many vertices need half a gigabyte; images of up to 2 megapixels have fewer.
_SMALL_LIMIT = 12_000_000

# Height and width of the native code's tiles, and the number of samples along each side that test for noise.
_TILE = 60, 64
_SAMPLES = 8


class Reduced:
    """CRF of means of 2 points along each axis, with marginals interpolated to all points.

    Parameters
    ----------
    image : (*shape, bands) array or None
    kernels : sequence of Kernel
        In points of the image.
    shape : tuple of int
        Of the variables.
    normalization : str
        Of kernels without their own.
    build : callable (image, kernels) -> DenseCRF
        Builds the CRF of the image at half its size, which may halve it again.

    Attributes
    ----------
    crf : DenseCRF
        CRF of the image at half its size.
    """

    def __init__(
        self,
        image: NDArray[Any] | None,
        kernels: Sequence[Kernel],
        shape: tuple[int, ...],
        normalization: Normalization,
        build: Callable[[NDArray[Any] | None, Sequence[Kernel]], "DenseCRF"],
    ) -> None:
        self._shape = shape
        self.crf = build(
            None if image is None else halved(image, range(len(shape))),
            [_halved_kernel(kernel, shape, kernel.normalization or normalization) for kernel in kernels],
        )

    def infer(self, unary: Unary, q: NDArray[Any] | None, labels: NDArray[Any] | None) -> None:
        """Write the marginals to `q` and the most probable labels to `labels`; None skips either.

        Parameters
        ----------
        unary : Unary
        q : array of float, of the unary's shape
        labels : array of integers, of the unary's shape without the labels' axis
        """
        for index in np.ndindex(unary.batch):
            marginals = self.enlarged(self.crf(**self._halved(unary, index)), last=unary.last)
            if q is not None:
                q[index] = marginals
            if labels is not None:
                labels[index] = marginals.argmax(axis=-1 if unary.last else 0)

    def inference(self, unary: Unary, *, trace: bool, out: NDArray[np.float32] | None) -> Inference:
        """Return what `DenseCRF.infer` returns."""
        result = self.crf.infer(**self._halved(unary), trace=trace)
        q = self.enlarged(result.probabilities, last=unary.last)
        labels = q.argmax(axis=-1 if unary.last else 0).astype(label_type(unary.labels))
        if out is not None:
            out[...] = q
            q = out
        return replace(result, probabilities=q, labels=labels)

    def _halved(self, unary: Unary, index: tuple[int, ...] = ()) -> dict[str, Any]:
        """Return a unary term, or the one at `index` in a batch, as arguments of the reduced CRF."""
        axes = range(len(self._shape)) if unary.last else range(1, 1 + len(self._shape))
        channels: Channels = "last" if unary.last else "first"
        return {unary.name: halved(unary.array[index], axes), "channels": channels}

    def enlarged(self, marginals: NDArray[np.float32], *, last: bool = False) -> NDArray[np.float32]:
        """Return marginals of the reduced CRF, interpolated linearly to all points."""
        labels = marginals.shape[-1 if last else 0]
        out = np.empty((*self._shape, labels) if last else (labels, *self._shape), np.float32)
        # Label by label, because the temporary arrays are as large as the result.
        for planes, plane in zip(*(np.moveaxis(a, -1 if last else 0, 0) for a in (marginals, out)), strict=True):
            values = planes
            for axis, length in enumerate(self._shape):
                values = _doubled(values, axis, length)
            plane[...] = values
        return out


def most_vertices(image: NDArray[np.uint8], kernels: Sequence[Kernel]) -> int:
    """Return `max_vertices` for an (H, W, 3) image: one per pixel if it is noisy, else two, and at least 12 million.

    Textured images from cameras have up to 1.5 per pixel; images with more, or with noise, lose little when reduced.
    """
    pixels = image.shape[0] * image.shape[1]
    if 2 * pixels <= _SMALL_LIMIT:
        return _SMALL_LIMIT
    noisy = any(isinstance(kernel, Bilateral) and _is_noisy(image, kernel) for kernel in kernels)
    return max(_SMALL_LIMIT, pixels if noisy else 2 * pixels)


def _is_noisy(image: NDArray[np.uint8], kernel: Bilateral) -> bool:
    """Return whether means of 2 x 2 pixels touch fewer vertices per point than pixels do.

    Noise averages out; texture does not, since the means are farther apart in the image (benchmarks/memory.py).
    """
    height, width, _ = image.shape
    # Evenly spaced blocks of a tile's size in the halved image, and as many pixels of the image itself.
    rows, columns = (
        np.linspace(0, length - 2 * side, min(_SAMPLES, length // (2 * side))).astype(int)
        for length, side in ((height, _TILE[0]), (width, _TILE[1]))
    )
    blocks = [image[y : y + 2 * _TILE[0], x : x + 2 * _TILE[1]] for y in rows for x in columns]
    if not blocks:
        return False
    means = _vertices([halved(block, (0, 1)) for block in blocks], kernel, 2)
    return means < _vertices([block[: _TILE[0], : _TILE[1]] for block in blocks], kernel, 1)


def _vertices(blocks: Sequence[NDArray[np.uint8]], kernel: Bilateral, factor: int) -> int:
    """Return the number of lattice vertices of tiles of an image that was reduced by `factor`."""
    (sx, sy), srgb = kernel.sigmas(2, 3)
    stacked = np.ascontiguousarray(np.concatenate(blocks))
    return _native.image_lattice(stacked, sx / factor, sy / factor, srgb, threads=1).rows or 0


def check_bound(name: str, bound: int | None, *, tiled: bool = False) -> int | None:
    """Return the bound of an argument, or raise InputError."""
    if bound is None:
        return None
    if tiled:
        raise InputError(f"{name}: expected None with tile, got {bound!r}; use smaller tiles")
    if not is_integer(bound) or bound < _LEAST_BOUND:
        raise InputError(f"{name}: expected an integer from {_LEAST_BOUND}, or None, got {bound!r}")
    return int(bound)


def halved(values: NDArray[Any], axes: Sequence[int]) -> NDArray[Any]:
    """Return means of pairs of neighbors along each axis, in the same dtype; an unpaired last value is copied."""
    means = values
    for axis in axes:
        first = np.arange(0, means.shape[axis], 2)
        second = np.minimum(first + 1, means.shape[axis] - 1)
        means = (means.take(first, axis).astype(np.float32) + means.take(second, axis)) / 2
    return np.rint(means).astype(values.dtype) if values.dtype.kind in "iu" else means.astype(values.dtype, copy=False)


def _halved_kernel(kernel: Kernel, shape: tuple[int, ...], normalization: Normalization) -> Kernel:
    # Without normalization, each point of the smaller grid stands for several.
    points = np.prod([length / ((length + 1) // 2) for length in shape]) if normalization == "none" else 1
    weight = float(kernel.weight * points)
    if isinstance(kernel, Gaussian):
        features = halved(np.asarray(kernel.values), range(len(shape)))
        options: dict[str, Any] = {"compatibility": kernel.compatibility, "normalization": kernel.normalization}
        return Gaussian(features, weight, **options)
    sxy = tuple(sigma / 2 for sigma in np.atleast_1d(kernel.sxy).tolist())
    return replace(kernel, weight=weight, sxy=sxy if len(sxy) > 1 else sxy[0])


def _doubled(values: NDArray[np.float32], axis: int, length: int) -> NDArray[np.float32]:
    """Upsample along an axis to `length` points, linearly; pixel centers are half-integers on both grids."""
    position = ((np.arange(length) + 0.5) / 2 - 0.5).clip(0, values.shape[axis] - 1)
    before = position.astype(np.intp)
    after = np.minimum(before + 1, values.shape[axis] - 1)
    fraction = (position - before).astype(np.float32).reshape(-1, *(1,) * (values.ndim - 1 - axis))
    start = values.take(before, axis)
    return start + (values.take(after, axis) - start) * fraction

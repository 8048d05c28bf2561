"""Mean field inference in a fully connected CRF."""

from __future__ import annotations  # so that help() shows ArrayLike by its name

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous._resources import check_threads
from atrous.crf._array_interop import Tensor, TensorLike, like
from atrous.crf._lower import Filtering, build_model
from atrous.crf._variables import check_variables
from atrous.crf._whole_image import Settings, WholeImage
from atrous.crf.kernels import Kernel, Normalization, check_compatibility, check_normalization
from atrous.crf.presets import resolve
from atrous.crf.pruning import pruning_threshold
from atrous.crf.reduced import Reduced, check_bound
from atrous.crf.result import Inference, check_fraction, check_iterations, label_type
from atrous.crf.tiling import Tiling, check_out, read_tiling
from atrous.crf.unary import CONFIDENCE, Channels, Unary, read_unary
from atrous.errors import InputError


class DenseCRF:
    """A fully connected CRF over the pixels of an image, or over points with any features.

    The energy is ``sum_i -log p_i(x_i) + sum_ij mu(x_i, x_j) k(i, j)`` with k a sum of Gaussian kernels
    (Chen et al. 2015, section 4; Kraehenbuehl and Koltun 2011). Mean field approximates its marginals Q:
    ``Q <- softmax(-unary)``, then `iterations` times
    ``Q <- softmax(-unary + sum_k weight_k * normalized(K_k Q))``.

    The constructor builds the filters of the image (with `tile`, each call builds those of a tile). Calls are
    thread-safe. Results are bitwise identical for any number of threads and any batch index.

    Parameters
    ----------
    image : (H, W, 3) array of uint8; (*shape, bands) or (H, W) array or tensor of numbers; or None
        RGB image; or a grid of any shape with channels last, such as a volume (D, H, W, bands); or a grayscale
        image (H, W). A volume of one band may be (D, H, W) if a kernel's `sxy` has three entries, else it is
        (D, H, W, 1). None if all kernels are `Gaussian`.
    kernels : sequence of Spatial, Bilateral, Gaussian, or str
        Or the name of a released model's parameters: see `PRESETS`.
    iterations : int, default 10
        Mean field steps.
    normalization : {"after", "none", "before", "symmetric"}
        With a kernel's matrix K and ones 1: ``KQ / K1``, as in the authors' code; ``KQ``; ``K(Q / K1)``;
        ``K1^-1/2 K (K1^-1/2 Q)``. A kernel may have its own.
    compatibility : (C,) or (C, C) array_like, optional
        ``mu[a, b]`` for labels a and b; a vector v stands for ``mu[a, a] = -v[a]`` and 0 elsewhere; None is
        Potts, ``mu = [a != b]``. A kernel may have its own.
    filtering : {"lattice", "fine", "exact"}
        How to multiply by K. "lattice": permutohedral lattice (fast, approximate, at most 16 features). "fine": the
        same lattice with a stencil over neighboring vertices instead of blurs (slower, more accurate, at most 5
        features). "exact": sum over all pairs of points, in quadratic time. Spatial kernels are convolved on the grid;
        with "lattice", wide ones (more than 25 pixels, or 10 in volumes) use the lattice if the image is large
        enough, and from ``sxy=2.9`` on the grid may have every second pixel. Errors: docs/benchmarks.md.
    tolerance : float, default 0
        Stop after a step that changes no probability by more; `infer` returns the number of steps.
    prune : float, optional
        Pruning threshold. Before the first step and after each, a label is pruned if at every point its probability
        is below `prune` times that of the most probable label. In images, a label is also pruned in a tile of at most
        64 x 60 pixels if this ratio is below ``prune / 20`` there and below 0.5 in all adjacent tiles. Large weights
        lower both thresholds. A pruned label gets probability 0 and does not return. 0 disables pruning. Default:
        0.05, or 0 if a weight is negative, a compatibility is a matrix or rewards labels unequally, or a
        normalization is "none". Effect: docs/benchmarks.md.
    threads : int, optional
        Default: the number of available processors.
    tile : int or (int, int), optional
        Maximum tile size in pixels, (H, W). Each call processes the tiles one by one and builds each tile's filters
        anew, so that memory depends on the tile's size: the image, the unary term and `out` may be ``np.memmap``.
    overlap : int or (int, int), optional
        Overlap around each tile in pixels. Default: three times the largest `sxy`.
    max_vertices : int, optional
        Maximum vertices of a kernel's lattice, summed over tiles of at most 64 x 60 pixels. Above it, the CRF runs on
        2 x 2 (4 x 4, ...) block means and its marginals are interpolated: see `reduced`. Default: no limit. Vertices
        and memory of images: docs/benchmarks.md.
    max_points : int, optional
        Maximum number of points, such as pixels. A larger image is reduced in the same way. Default: no limit.

    Raises
    ------
    InputError
        If an argument is invalid.
    MemoryError
        If memory runs out. All buffers are freed.

    Notes
    -----
    "fine" is closer to the exact result than "lattice", most of all if `normalization` is "none" (0.6 % of the labels
    differ, against 2 to 6 %), because its K does not lose mass where points are sparse.

    Tiles use the whole image's lattice vertices. Results differ only because a tile ignores pixels beyond its overlap;
    an overlap of three standard deviations changes at most 0.06 % of the labels (docs/benchmarks.md).

    Examples
    --------
    >>> import numpy as np
    >>> from atrous.crf import DenseCRF, Spatial
    >>> image = np.zeros((2, 3, 3), np.uint8)
    >>> crf = DenseCRF(image, [Spatial(weight=3, sxy=3)])
    >>> probabilities = np.full((2, 2, 3), [[[0.6]], [[0.4]]], np.float32)
    >>> crf.labels(probabilities)
    array([[0, 0, 0],
           [0, 0, 0]], dtype=uint8)
    """

    def __init__(
        self,
        image: ArrayLike | None,
        kernels: str | Sequence[Kernel],
        *,
        iterations: int = 10,
        normalization: Normalization = "after",
        compatibility: ArrayLike | None = None,
        filtering: Filtering = "lattice",
        tolerance: float = 0.0,
        prune: float | None = None,
        threads: int | None = None,
        tile: int | Sequence[int] | None = None,
        overlap: int | Sequence[int] | None = None,
        max_vertices: int | None = None,
        max_points: int | None = None,
    ) -> None:
        self.kernels = resolve(kernels)
        self._iterations = check_iterations(iterations)
        self.tolerance = check_fraction("tolerance", tolerance)
        check_normalization(normalization)
        if filtering not in get_args(Filtering):
            raise InputError(f"filtering: expected 'lattice', 'fine' or 'exact', got {filtering!r}")
        self.threads = check_threads(threads)
        array, self.shape = check_variables(image, self.kernels)
        self._compatibilities = [
            check_compatibility(compatibility if kernel.compatibility is None else kernel.compatibility)
            for kernel in self.kernels
        ]
        self.prune = pruning_threshold(prune, self.kernels, self._compatibilities, normalization)

        def build(part: NDArray[Any] | None, kernels: Sequence[Kernel], **limits: int | None) -> DenseCRF:
            return DenseCRF(
                part,
                kernels,
                iterations=self.iterations,  # of the property, which may change between calls
                normalization=normalization,
                compatibility=compatibility,
                filtering=filtering,
                tolerance=self.tolerance,
                prune=prune,
                threads=self.threads,
                **limits,
            )

        tiling = read_tiling(array, self.kernels, self.shape, tile, overlap, build)
        vertices = check_bound("max_vertices", max_vertices, tiled=tiling is not None)
        points = check_bound("max_points", max_points, tiled=tiling is not None)
        if tiling is not None:
            self._delegate: WholeImage | Tiling | Reduced = tiling
            return
        model = None
        if points is None or np.prod(self.shape) <= points:
            model = build_model(
                self.kernels,
                self._compatibilities,
                array,
                self.shape,
                normalization=normalization,
                filtering=filtering,
                threads=self.threads,
                max_vertices=vertices,
            )
        if model is not None:
            self._delegate = WholeImage(model, self.shape)
        else:
            reduced = partial(build, max_vertices=vertices, max_points=points)
            self._delegate = Reduced(array, self.kernels, self.shape, normalization, reduced)

    def __repr__(self) -> str:
        kernels = ", ".join(map(repr, self.kernels))
        tiles = ", in tiles" if isinstance(self._delegate, Tiling) else ""
        reduced = f", on means of {self.reduction} x {self.reduction}" if self.reduced is not None else ""
        return f"<DenseCRF {self.shape}: {kernels}, iterations={self.iterations}{tiles}{reduced}>"

    @property
    def iterations(self) -> int:
        """Number of mean field steps."""
        return self._iterations

    @iterations.setter
    def iterations(self, iterations: int) -> None:
        self._iterations = check_iterations(iterations)
        if isinstance(self._delegate, Reduced):
            self._delegate.crf.iterations = iterations

    @property
    def reduced(self) -> DenseCRF | None:
        """The CRF of the image at half its size if that exceeds `max_points` or `max_vertices`, else None.

        It may be reduced in turn. Pass unary terms of shape `reduced.shape` to it directly to skip the averaging;
        `enlarged` upsamples its marginals.
        """
        return self._delegate.crf if isinstance(self._delegate, Reduced) else None

    @property
    def reduction(self) -> int:
        """Block size of the reduced image in pixels: 1 if not reduced, else 2, 4, ..."""
        return 1 if self.reduced is None else 2 * self.reduced.reduction

    def enlarged(self, marginals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return marginals (C, *reduced.shape) upsampled to (C, *shape); unchanged if the CRF is not reduced."""
        return self._delegate.enlarged(marginals) if isinstance(self._delegate, Reduced) else marginals

    @overload
    def __call__(self, probabilities: Tensor, *, channels: Channels | None = None) -> Tensor: ...

    @overload
    def __call__(self, *, energies: Tensor, channels: Channels | None = None) -> Tensor: ...

    @overload
    def __call__(self, *, labels: Tensor, confidence: float = CONFIDENCE) -> Tensor: ...

    @overload
    def __call__(
        self,
        probabilities: ArrayLike | None = None,
        *,
        energies: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        confidence: float = CONFIDENCE,
        channels: Channels | None = None,
        out: NDArray[np.floating[Any]] | None = None,
    ) -> NDArray[np.float32]: ...

    def __call__(
        self,
        probabilities: ArrayLike | TensorLike | None = None,
        *,
        energies: ArrayLike | TensorLike | None = None,
        labels: ArrayLike | TensorLike | None = None,
        confidence: float = CONFIDENCE,
        channels: Channels | None = None,
        out: NDArray[np.floating[Any]] | None = None,
    ) -> Any:
        """Return the marginals Q.

        Parameters
        ----------
        probabilities : (C, *shape) or (*shape, C) array or tensor of float, or a batch (B, ...) of these
            Probability of each label at each pixel, 0 to 1. PyTorch tensors must be on the CPU and without gradients.
        energies : the same
            Instead of probabilities: the unary term, lower for more probable labels, such as ``-log p`` or a
            network's negative scores.
        labels : (*shape) array or tensor of int, or a batch (B, ...) of these
            Instead of probabilities: the label of each pixel, 255 if unknown.
        confidence : float, default 0.7
            Probability of these labels. The other labels, up to the largest one, share the rest equally.
        channels : "first" or "last", optional
            Axis of the labels. Default: detected from the shape; "first" if both fit.
        out : array of float, of the input's shape, optional
            Destination of the marginals; it is returned.

        Returns
        -------
        array of float32, of the input's shape
            For a PyTorch tensor, a tensor of its dtype.

        Raises
        ------
        InputError
            If the shape does not fit or a value is invalid (NaN, infinite, a negative probability).
        """
        unary = self._read(probabilities, energies, channels, labels, confidence)
        if out is not None:
            check_out(out, unary.array.shape, np.float16)
        if isinstance(self._delegate, WholeImage):
            q = self._delegate.marginals(unary, out, self._settings)
        else:
            q = np.empty(unary.array.shape, np.float32) if out is None else out
            self._delegate.infer(unary, q, None)
        return like(unary.given, q) if out is None else out

    @overload
    def labels(self, probabilities: Tensor, *, channels: Channels | None = None) -> Tensor: ...

    @overload
    def labels(self, *, energies: Tensor, channels: Channels | None = None) -> Tensor: ...

    @overload
    def labels(self, *, labels: Tensor, confidence: float = CONFIDENCE) -> Tensor: ...

    @overload
    def labels(
        self,
        probabilities: ArrayLike | None = None,
        *,
        energies: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        confidence: float = CONFIDENCE,
        channels: Channels | None = None,
        out: NDArray[np.integer[Any]] | None = None,
    ) -> NDArray[np.integer[Any]]: ...

    def labels(
        self,
        probabilities: ArrayLike | TensorLike | None = None,
        *,
        energies: ArrayLike | TensorLike | None = None,
        labels: ArrayLike | TensorLike | None = None,
        confidence: float = CONFIDENCE,
        channels: Channels | None = None,
        out: NDArray[np.integer[Any]] | None = None,
    ) -> Any:
        """Return each pixel's most probable label under Q.

        Parameters
        ----------
        probabilities, energies, labels, confidence, channels
            As for a call.
        out : array of integers, optional
            Destination of the labels; it is returned.

        Returns
        -------
        array of `shape`, or of (B, *shape), uint8 (uint16 or int32 if there are more labels)
            For a PyTorch tensor, a tensor of uint8 or int32.
        """
        unary = self._read(probabilities, energies, channels, labels, confidence)
        shape, kind = (*unary.batch, *self.shape), label_type(unary.labels)
        if out is not None:
            check_out(out, shape, kind)
        result = np.empty(shape, kind) if out is None else out
        if isinstance(self._delegate, WholeImage):
            self._delegate.label_maps(unary, result, self._settings)
        else:
            self._delegate.infer(unary, None, result)
        return like(unary.given, result) if out is None else out

    def infer(
        self,
        probabilities: ArrayLike | None = None,
        *,
        energies: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        confidence: float = CONFIDENCE,
        channels: Channels | None = None,
        trace: bool = False,
        out: NDArray[np.float32] | None = None,
    ) -> Inference:
        """Return marginals, labels and statistics of the inference.

        Parameters
        ----------
        probabilities, energies, labels, confidence, channels
            As for a call; no batch.
        trace : bool
            Compute energy and divergence before the first step and after each. Costs about one more step (with two
            labels: twice the time). For a reduced CRF the values refer to the reduced image.
        out : array of float32, of the input's shape, optional
            Destination of the marginals. Pass the input array to compute in place.

        Returns
        -------
        Inference
        """
        if isinstance(self._delegate, Tiling):
            raise InputError(
                f"tile: expected None for infer(), got {self._delegate.size}; use crf(...) or crf.labels(...)"
            )
        unary = self._read(probabilities, energies, channels, labels, confidence)
        if unary.batch:
            raise InputError(f"{unary.name}: expected one unary term, got a batch {unary.array.shape}; infer each")
        if out is not None:
            check_out(out, unary.array.shape, np.float32)
        if isinstance(self._delegate, Reduced):
            result = self._delegate.inference(unary, trace=trace, out=out)
            return replace(
                result, probabilities=like(unary.given, result.probabilities), labels=like(unary.given, result.labels)
            )
        return self._delegate.inference(unary, self._settings, trace=trace, out=out)

    @property
    def _settings(self) -> Settings:
        return Settings(self.iterations, self.tolerance, self.prune, self.threads)

    def _read(
        self, probabilities: Any, energies: Any, channels: Channels | None, labels: Any, confidence: float
    ) -> Unary:
        unary = read_unary(probabilities, energies, self.shape, channels, labels, confidence)
        for mu in self._compatibilities:
            if mu is not None and mu.shape[0] != unary.labels:
                check_compatibility(mu, labels=unary.labels)
        return unary

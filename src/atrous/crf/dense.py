"""Mean field inference in a fully connected CRF."""

import os
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous import _native
from atrous.crf.kernels import (
    Kernel,
    Normalization,
    Spatial,
    check_compatibility,
    check_normalization,
    check_variables,
)
from atrous.crf.presets import resolve
from atrous.crf.unary import check_unary
from atrous.errors import InputError

Filtering = Literal["lattice", "exact"]

_MOST_FEATURES = 16  # the lattice's vertices have one more neighbour pair for each
_MOST_THREADS = 1024


class DenseCRF:
    """A fully connected CRF over the pixels of an image, or over points with any features.

    The energy is ``sum_i -log p_i(x_i) + sum_ij mu(x_i, x_j) k(i, j)`` with k a sum of Gaussian kernels
    (Chen et al. 2015, section 4; Kraehenbuehl and Koltun 2011). Mean field approximates its marginals Q:
    ``Q <- softmax(-unary)``, then `iterations` times
    ``Q <- softmax(-unary + sum_k weight_k * normalized(K_k Q))``.

    Setting up builds what depends on the image and the kernels only; the object then serves any number of
    probability maps, from several threads at once if need be. The same input gives the same bits for any
    number of threads.

    Parameters
    ----------
    image : (H, W, 3) array of uint8, or None
        RGB. None if all kernels are `Gaussian`.
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
    filtering : {"lattice", "exact"}
        Multiply by K on the permutohedral lattice (approximate, fast) or one pair of points after the other
        (for small images: time grows with the square of their size). Spatial kernels are exact in both.
    threads : int, optional
        Default: as many as there are processors to run on.

    Raises
    ------
    InputError
        If an argument cannot be used; the message says which and why.

    Examples
    --------
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
        threads: int | None = None,
    ) -> None:
        self.kernels = resolve(kernels)
        self.iterations = check_iterations(iterations)
        check_normalization(normalization)
        if filtering not in get_args(Filtering):
            raise InputError(f"filtering: expected 'lattice' or 'exact', got {filtering!r}")
        self.threads = _check_threads(threads)
        array, self.shape = check_variables(image, self.kernels)
        self._compatibilities = [
            check_compatibility(compatibility if kernel.compatibility is None else kernel.compatibility)
            for kernel in self.kernels
        ]
        self._model = _native.Model(int(np.prod(self.shape)))
        for kernel, mu in zip(self.kernels, self._compatibilities, strict=True):
            kernel_filter = _build_filter(kernel, array, self.shape, filtering, self.threads)
            before, after = _normalizers(kernel_filter, kernel.normalization or normalization, self.threads)
            gains = None if mu is None else np.ascontiguousarray(mu if mu.ndim == 1 else -mu.T, np.float32)
            self._model.add(kernel_filter, before, after * np.float32(kernel.weight), gains)

    def __call__(
        self, probabilities: ArrayLike | None = None, *, energies: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Return the marginals Q.

        Parameters
        ----------
        probabilities : (C, *shape) array_like of float
            Of each label at each pixel, 0 to 1.
        energies : (C, *shape) array_like of float
            Instead of probabilities: the unary term, lower for a likelier label, such as ``-log p`` or a
            network's negative scores.

        Returns
        -------
        (C, *shape) array of float32

        Raises
        ------
        InputError
            If the shape does not fit or a value cannot be used (NaN, infinite, a negative probability).
        """
        planes, are_energies = self._check(probabilities, energies)
        out = np.empty_like(planes)
        self._model.infer(
            planes, energies=are_energies, iterations=self.iterations, threads=self.threads, probabilities=out
        )
        return out.reshape(-1, *self.shape)

    def labels(
        self, probabilities: ArrayLike | None = None, *, energies: ArrayLike | None = None
    ) -> NDArray[np.integer]:
        """Return each pixel's most probable label under Q.

        Parameters
        ----------
        probabilities, energies
            As for a call.

        Returns
        -------
        array of `shape`, uint8 (uint16, int32 where there are more labels)
        """
        planes, are_energies = self._check(probabilities, energies)
        out = np.empty(planes.shape[1], np.int32)
        self._model.infer(planes, energies=are_energies, iterations=self.iterations, threads=self.threads, labels=out)
        return out.astype(np.min_scalar_type(planes.shape[0] - 1)).reshape(self.shape)

    def _check(self, probabilities: ArrayLike | None, energies: ArrayLike | None) -> tuple[NDArray[np.float32], bool]:
        planes, are_energies = check_unary(probabilities, energies, self.shape, np.float32)
        for compatibility in self._compatibilities:
            check_compatibility(compatibility, labels=planes.shape[0])
        return planes, are_energies


def check_iterations(iterations: int) -> int:
    """Return the number of steps, or raise InputError."""
    if not isinstance(iterations, (int, np.integer)) or isinstance(iterations, bool) or not 0 <= iterations < 2**31:
        raise InputError(f"iterations: expected an integer, 0 or more, got {iterations!r}")
    return int(iterations)


def _check_threads(threads: int | None) -> int:
    if threads is None:
        affinity = getattr(os, "sched_getaffinity", None)
        return min(len(affinity(0)) if affinity else os.cpu_count() or 1, _MOST_THREADS)
    if not isinstance(threads, (int, np.integer)) or isinstance(threads, bool) or not 1 <= threads <= _MOST_THREADS:
        raise InputError(f"threads: expected an integer from 1 to {_MOST_THREADS}, or None, got {threads!r}")
    return int(threads)


def _build_filter(
    kernel: Kernel,
    image: NDArray[np.uint8] | None,
    shape: tuple[int, ...],
    filtering: Filtering,
    threads: int,
) -> _native.Filter:
    if isinstance(kernel, Spatial):
        if len(shape) != 2:
            raise InputError(f"sxy: expected variables of shape (H, W), got {shape}; use Gaussian(features)")
        sx, sy = kernel.sigmas()
        return _native.grid_gaussian(shape, (sy, sx))

    features = kernel.features(image, shape, np.float32)
    sigmas = "features" if image is None else "sxy, srgb"
    if not np.isfinite(features).all():
        raise InputError(f"{sigmas}: features must fit float32; divide by larger standard deviations")
    if filtering == "exact":
        return _native.brute_force(features)
    if features.shape[0] > _MOST_FEATURES:
        raise InputError(
            f"features: expected at most {_MOST_FEATURES} a point for the lattice, got {features.shape[0]};"
            " reduce them (for example by PCA) or use filtering='exact'"
        )
    try:
        return _native.lattice(features, threads)
    except OverflowError as error:
        reach = np.ptp(features, axis=1).max()
        raise InputError(
            f"{sigmas}: {error} (they span {reach:.3g} standard deviations); divide by larger standard deviations"
        ) from None


def _normalizers(
    kernel_filter: _native.Filter, normalization: Normalization, threads: int
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32]]:
    """Return the factors before and after the multiplication by K; None stands for ones."""
    ones = np.ones((1, kernel_filter.points), np.float32)
    if normalization == "none":
        return None, ones[0]
    mass = np.empty_like(ones)
    kernel_filter.apply(ones, mass, threads)
    if normalization == "before":
        return 1 / mass[0], ones[0]
    if normalization == "after":
        return None, 1 / mass[0]
    root = 1 / np.sqrt(mass[0])
    return root, root

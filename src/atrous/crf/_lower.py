"""Conversion of kernels to terms of the native mean field."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atrous import _native
from atrous.crf._lattice_stencil import fine_lattice
from atrous.crf._variables import MOST_FEATURES
from atrous.crf.kernels import Bilateral, Kernel, Normalization, Spatial
from atrous.errors import InputError

Filtering = Literal["lattice", "fine", "exact"]

# The time of the exact spatial kernel grows with its width. Above these standard deviations in pixels, "lattice"
# filters it on the lattice if the grid is large enough for that to save time. On images, kernels that are wide along
# both axes are convolved on every second pixel (native/gaussian/downsampled.hpp), so the lattice pays later.
WIDEST_EXACT = 10.0
WIDEST_DOWNSAMPLED = 25.0
_NARROWEST_DOWNSAMPLED = 3.0
_REACH = 6  # standard deviations that the exact kernel covers on each side

# Weights of the spatial kernel below these are dropped (its center has weight 1): weights that vanish in a float32 sum;
# and with "lattice", whose error is 1e-3, weights that sum to 1e-5 of the total. With the latter, the native code may
# convolve every second pixel if that error is at most this weight.
_LEAST_FLOAT = 2.0**-25
_LEAST_WEIGHT = 2.0**-13


@dataclass(frozen=True, eq=False)
class Term:
    """One kernel's part of a step: scores += post_scale * (gains . K (pre_scale * Q)).

    Attributes
    ----------
    filter : native filter
        K, between N points.
    pre_scale : (N,) array of float32, or None for ones
    post_scale : (N,) array of float32
        Normalization times the kernel's weight.
    gains : (C,) or (C, C) array of float32, or None for Potts
        Negated compatibility; a matrix is [from][to].
    total : float, optional
        post_scale * (K pre_scale), if it is known and the same for all points.
    weight : float
        Maximum that the term can add to a score; infinite if unknown.
    """

    filter: _native.Filter
    pre_scale: NDArray[np.float32] | None
    post_scale: NDArray[np.float32]
    gains: NDArray[np.float32] | None
    total: float | None = None
    weight: float = math.inf

    def add_to(self, model: _native.Model, times: float = 1.0) -> None:
        """Add the term to a native model, with its weight multiplied by `times`."""
        scale, total = (self.post_scale, self.total) if times == 1 else (self.post_scale * np.float32(times), None)
        weight = self.weight * abs(times)
        # Rounding to 16 bits is small compared with the messages only if those are averages.
        model.add(self.filter, self.pre_scale, scale, self.gains, total, weight, float16=math.isfinite(weight))


def build_model(
    kernels: Sequence[Kernel],
    compatibilities: Sequence[NDArray[np.float64] | None],
    image: NDArray[Any] | None,
    shape: tuple[int, ...],
    *,
    normalization: Normalization,
    filtering: Filtering,
    threads: int,
    max_vertices: int | None,
) -> _native.Model | None:
    """Return the native model of all kernels, or None if a lattice exceeds `max_vertices`.

    Raises InputError if the features do not fit the lattice.
    """
    model = _native.Model(math.prod(shape))
    try:
        for kernel, mu in zip(kernels, compatibilities, strict=True):
            term = build_term(
                kernel,
                mu,
                image,
                shape,
                normalization=kernel.normalization or normalization,
                filtering=filtering,
                threads=threads,
                max_vertices=max_vertices,
            )
            term.add_to(model)
    except _native.LatticeTooLarge:
        return None
    return model


def build_term(
    kernel: Kernel,
    compatibility: NDArray[np.float64] | None,
    image: NDArray[Any] | None,
    shape: tuple[int, ...],
    *,
    normalization: Normalization,
    filtering: Filtering,
    threads: int,
    max_vertices: int | None = None,
) -> Term:
    """Return the native term of one kernel, with its filter and normalization.

    Raises InputError if the features do not fit the lattice, _native.LatticeTooLarge if it exceeds `max_vertices`.
    """
    sigmas = kernel.sigmas(len(shape)) if isinstance(kernel, Spatial) else None
    on_grid = sigmas is not None and not (filtering == "lattice" and _worth_a_lattice(shape, sigmas))
    if on_grid and sigmas is not None:
        least = _LEAST_WEIGHT if filtering == "lattice" else _LEAST_FLOAT
        built = _native.grid_gaussian(shape, sigmas, least)
    elif filtering == "exact":
        built = _native.brute_force(kernel.features(image, shape, np.float32), shape[-1])
    else:
        built = _lattice(kernel, image, shape, filtering, threads, max_vertices)
    mass = _grid_mass(shape, sigmas) if on_grid and sigmas is not None and normalization != "none" else None
    pre_scale, post_scale = normalizers(built, normalization, threads, mass)
    post_scale *= np.float32(kernel.weight)
    total = float(kernel.weight) if normalization == "after" else None
    weight = math.inf if normalization == "none" else abs(kernel.weight)
    if compatibility is None:
        return Term(built, pre_scale, post_scale, None, total, weight)
    gains = compatibility if compatibility.ndim == 1 else -compatibility.T
    weight = math.inf if normalization == "none" else weight * float(np.abs(gains).max())
    return Term(built, pre_scale, post_scale, np.ascontiguousarray(gains, np.float32), total, weight)


def _worth_a_lattice(shape: tuple[int, ...], sigmas: tuple[float, ...]) -> bool:
    downsampled = len(shape) == 2 and min(sigmas) >= _NARROWEST_DOWNSAMPLED
    widest = WIDEST_DOWNSAMPLED if downsampled else WIDEST_EXACT
    wide = any(min(sigma, length / _REACH) > widest for sigma, length in zip(sigmas, shape, strict=True))
    # A lattice spans at most 10^5 standard deviations; in longer grids the kernel is narrow and cheap to convolve.
    return wide and all(length / sigma < 1e4 for sigma, length in zip(sigmas, shape, strict=True))


def _lattice(
    kernel: Kernel,
    image: NDArray[Any] | None,
    shape: tuple[int, ...],
    filtering: Filtering,
    threads: int,
    max_vertices: int | None,
) -> _native.Filter:
    points = math.prod(shape)
    colors = isinstance(kernel, Bilateral) and image is not None and image.dtype == np.uint8 and image.shape[2:] == (3,)
    features = None if colors and filtering == "lattice" else kernel.features(image, shape, np.float32)
    dimensions = 5 if features is None else features.shape[0]
    sigmas = "features" if image is None else "sxy, srgb"
    if dimensions > MOST_FEATURES:
        raise InputError(
            f"{'features' if image is None else 'image'}: expected at most {MOST_FEATURES} features per point for"
            f" the lattice, positions and bands together, got {dimensions}; reduce them (for example by PCA) or use"
            " filtering='exact'"
        )
    if points * (dimensions + 1) >= 2**32 - 1:
        raise InputError(
            f"{'features' if image is None else 'image'}: expected at most {2**32 // (dimensions + 1)} points for one"
            f" lattice of {dimensions} features, got {points}; cut it into parts"
        )
    try:
        if features is not None and filtering == "fine":
            return fine_lattice(features, shape[-1], threads, max_vertices)
        if features is not None:
            return _native.lattice(features, threads, shape[-1], most_rows=max_vertices)
        assert isinstance(kernel, Bilateral)
        assert image is not None
        (sx, sy), srgb = kernel.sigmas(2, 3)
        return _native.image_lattice(np.ascontiguousarray(image), sx, sy, srgb, threads, max_vertices)
    except OverflowError as error:
        features = kernel.features(image, shape, np.float32) if features is None else features
        reach = np.ptp(features, axis=1).max()
        raise InputError(
            f"{sigmas}: {error} (they span {reach:.3g} standard deviations); divide by larger standard deviations"
        ) from None


def normalizers(
    built: _native.Filter, normalization: Normalization, threads: int, mass: NDArray[np.float32] | None = None
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32]]:
    """Return each point's factors before and after the multiplication by K; None stands for ones.

    `mass` is K times ones, if known; it is overwritten.
    """
    if normalization == "none":
        return None, np.ones(built.points, np.float32)
    if mass is None:
        mass = np.empty(built.points, np.float32)
        built.mass(mass, threads)
    if normalization == "before":
        return np.reciprocal(mass, out=mass), np.ones(built.points, np.float32)
    if normalization == "after":
        return None, np.reciprocal(mass, out=mass)
    root = np.reciprocal(np.sqrt(mass, out=mass), out=mass)
    return root, root.copy()


def _grid_mass(shape: tuple[int, ...], sigmas: tuple[float, ...]) -> NDArray[np.float32]:
    """Return a grid's Gaussian kernel matrix times ones, the product of the axes' sums."""
    mass = np.ones((), np.float32)
    for length, sigma in zip(shape, sigmas, strict=True):
        one_side = np.cumsum(np.exp(-0.5 * (np.arange(length) / sigma) ** 2))
        mass = np.multiply.outer(mass, (one_side + one_side[::-1] - 1).astype(np.float32))
    return mass.reshape(math.prod(shape))

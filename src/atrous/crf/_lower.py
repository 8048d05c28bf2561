"""From kernels to what the native mean field multiplies by."""

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

# The time of the exact spatial kernel grows with its width. From this standard deviation on, in pixels, the
# lattice stands in for it, where the grid is so wide that this saves time.
WIDEST_EXACT = 10.0
_REACH = 6  # standard deviations that the exact kernel reads to each side

# Weights of the spatial kernel under these, of 1 at its center, are dropped: what float32 cannot tell from 0 in a sum,
# and, beside a lattice, which is a thousandth off, what makes 1e-5 of the sum; native code may convolve every second
# pixel then, where that is off by no more than this weight.
_LEAST_FLOAT = 2.0**-25
_LEAST_WEIGHT = 2.0**-13


@dataclass(frozen=True, eq=False)
class Term:
    """One kernel's part of a step: scores += after * (gains . K (before * Q)).

    Attributes
    ----------
    filter : native filter
        K, between N points.
    before : (N,) array of float32, or None for ones
    after : (N,) array of float32
        With the weight.
    gains : (C,) or (C, C) array of float32, or None for Potts
        Minus the compatibility; a matrix is [from][to].
    total : float, optional
        after * (K before), where it is known and the same for all points.
    weight : float
        The most that the term can add to a score; infinite where that is not known.
    """

    filter: _native.Filter
    before: NDArray[np.float32] | None
    after: NDArray[np.float32]
    gains: NDArray[np.float32] | None
    total: float | None = None
    weight: float = math.inf

    def add_to(self, model: _native.Model, times: float = 1.0) -> None:
        """Add the term, its weight multiplied, to a native model."""
        after, total = (self.after, self.total) if times == 1 else (self.after * np.float32(times), None)
        weight = self.weight * abs(times)
        # Rounding to 16 bits is small beside the messages only where those are averages.
        model.add(self.filter, self.before, after, self.gains, total, weight, float16=math.isfinite(weight))


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
    """Build what depends on image and kernels only; return None if a lattice would have more than `max_vertices`.

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
    """Build what depends on image and kernel only, the normalization included.

    Raises InputError if the features do not fit the lattice, _native.LatticeTooLarge if it has more than
    `max_vertices`.
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
    before, after = normalizers(built, normalization, threads, mass)
    after *= np.float32(kernel.weight)
    total = float(kernel.weight) if normalization == "after" else None
    weight = math.inf if normalization == "none" else abs(kernel.weight)
    if compatibility is None:
        return Term(built, before, after, None, total, weight)
    gains = compatibility if compatibility.ndim == 1 else -compatibility.T
    weight = math.inf if normalization == "none" else weight * float(np.abs(gains).max())
    return Term(built, before, after, np.ascontiguousarray(gains, np.float32), total, weight)


def _worth_a_lattice(shape: tuple[int, ...], sigmas: tuple[float, ...]) -> bool:
    wide = any(min(sigma, length / _REACH) > WIDEST_EXACT for sigma, length in zip(sigmas, shape, strict=True))
    # A lattice has room for 10^5 standard deviations; where points lie that far apart, the grid's kernel is short.
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
            f"{'features' if image is None else 'image'}: expected at most {MOST_FEATURES} features a point for the"
            f" lattice, places and bands together, got {dimensions}; reduce them (for example by PCA) or use"
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
    """Return the factors before and after the multiplication by K; None stands for ones.

    `mass` is K times ones, where that is known; it is overwritten.
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
    """Return a grid's Gaussian kernel matrix times ones: a product over the axes of what lies to both sides."""
    mass = np.ones((), np.float32)
    for length, sigma in zip(shape, sigmas, strict=True):
        one_side = np.cumsum(np.exp(-0.5 * (np.arange(length) / sigma) ** 2))
        mass = np.multiply.outer(mass, (one_side + one_side[::-1] - 1).astype(np.float32))
    return mass.reshape(math.prod(shape))

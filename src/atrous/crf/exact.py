"""The same mean field, in plain NumPy and in float64: what the fast one is tested against."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous.crf.dense import check_iterations
from atrous.crf.kernels import (
    Kernel,
    Normalization,
    check_compatibility,
    check_normalization,
    check_variables,
)
from atrous.crf.presets import resolve
from atrous.crf.unary import check_unary
from atrous.errors import InputError

_MOST_POINTS = 2**14  # each kernel's matrix then takes 2 GiB


def exact(
    image: ArrayLike | None,
    kernels: str | Sequence[Kernel],
    probabilities: ArrayLike | None = None,
    *,
    energies: ArrayLike | None = None,
    iterations: int = 10,
    normalization: Normalization = "after",
    compatibility: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Return the mean field of a fully connected CRF, each pair of pixels summed.

    Chen et al. 2015, section 4. For small images: time and memory grow with the square of their size.

    Parameters
    ----------
    image, kernels, iterations, normalization, compatibility
        As for `DenseCRF`.
    probabilities, energies
        As for a call of `DenseCRF`.

    Returns
    -------
    (C, *shape) array of float64

    Raises
    ------
    InputError
        If an argument cannot be used, or there are more than 16,384 pixels.
    """
    kernels = resolve(kernels)
    check_iterations(iterations)
    check_normalization(normalization)
    array, shape = check_variables(image, kernels)
    if np.prod(shape) > _MOST_POINTS:
        raise InputError(f"image: expected at most {_MOST_POINTS} pixels, got {shape}; use DenseCRF or a crop")
    planes, are_energies = check_unary(probabilities, energies, shape, np.float64)
    labels = planes.shape[0]
    unary = planes if are_energies else -np.log(np.maximum(planes, np.finfo(np.float32).tiny))

    matrices = []
    compatibilities = []
    for kernel in kernels:
        matrix = _kernel_matrix(kernel.features(array, shape, np.float64))
        matrices.append(kernel.weight * _normalized(matrix, kernel.normalization or normalization))
        mu = check_compatibility(compatibility if kernel.compatibility is None else kernel.compatibility, labels=labels)
        mu = 1.0 - np.eye(labels) if mu is None else mu
        compatibilities.append(mu if mu.ndim == 2 else -np.diag(mu))

    q = _softmax(-unary)
    for _ in range(iterations):
        scores = -unary
        for matrix, mu in zip(matrices, compatibilities, strict=True):
            scores = scores - mu @ (q @ matrix.T)
        q = _softmax(scores)
    return q.reshape(labels, *shape)


def _kernel_matrix(features: NDArray[np.float64]) -> NDArray[np.float64]:
    points = features.shape[1]
    squares = np.zeros((points, points))
    for feature in features:
        squares += (feature[:, None] - feature) ** 2
    squares *= -0.5
    return np.exp(squares, out=squares)


def _normalized(matrix: NDArray[np.float64], normalization: Normalization) -> NDArray[np.float64]:
    mass = matrix.sum(axis=1)
    if normalization == "before":
        return matrix / mass
    if normalization == "after":
        return matrix / mass[:, None]
    if normalization == "symmetric":
        return matrix / np.sqrt(mass[:, None] * mass)
    return matrix


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(scores - scores.max(axis=0))
    return exponentials / exponentials.sum(axis=0)

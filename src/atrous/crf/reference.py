"""Exact mean field in NumPy and float64, the reference of the tests."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous.crf._variables import check_variables
from atrous.crf.kernels import Kernel, Normalization, check_compatibility, check_normalization
from atrous.crf.presets import resolve
from atrous.crf.result import Inference, check_fraction, check_iterations, label_type
from atrous.crf.unary import read_unary
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
    """Return the exact mean field marginals of a fully connected CRF, summing over all pairs of pixels.

    Chen et al. 2015, section 4. For small images: time and memory are quadratic in the number of pixels.

    Parameters
    ----------
    image, kernels, iterations, normalization, compatibility
        As for `DenseCRF`.
    probabilities, energies
        As for `DenseCRF.infer`.

    Returns
    -------
    (C, *shape) or (*shape, C) array of float64

    Raises
    ------
    InputError
        If an argument is invalid, or the image has more than 16,384 pixels.
    """
    result = exact_inference(
        image,
        kernels,
        probabilities,
        energies=energies,
        iterations=iterations,
        normalization=normalization,
        compatibility=compatibility,
    )
    return result.probabilities.astype(np.float64, copy=False)


def exact_inference(
    image: ArrayLike | None,
    kernels: str | Sequence[Kernel],
    probabilities: ArrayLike | None = None,
    *,
    energies: ArrayLike | None = None,
    iterations: int = 10,
    normalization: Normalization = "after",
    compatibility: ArrayLike | None = None,
    tolerance: float = 0.0,
) -> Inference:
    """Run `exact` and return an `Inference` with energies and divergences.

    No label is pruned. Parameters and errors as for `exact`; `tolerance` as for `DenseCRF`.
    """
    kernels = resolve(kernels)
    check_iterations(iterations)
    check_fraction("tolerance", tolerance)
    check_normalization(normalization)
    array, shape = check_variables(image, kernels)
    if np.prod(shape) > _MOST_POINTS:
        raise InputError(f"image: expected at most {_MOST_POINTS} pixels, got {shape}; use DenseCRF or a crop")
    given = read_unary(probabilities, energies, shape)
    if given.batch:
        raise InputError(f"{given.name}: expected one unary term, got a batch {given.array.shape}; infer each")
    (planes,) = given.planes(given.array)
    given.check_values(planes)
    labels = given.labels
    unary = planes.astype(np.float64)
    if given.name == "probabilities":
        unary = -np.log(np.maximum(unary, np.finfo(np.float32).tiny))

    terms = []
    for kernel in kernels:
        matrix = _kernel_matrix(kernel.features(array, shape, np.float64))
        mu = check_compatibility(compatibility if kernel.compatibility is None else kernel.compatibility, labels=labels)
        mu = 1.0 - np.eye(labels) if mu is None else mu
        weighted = kernel.weight * _normalized(matrix, kernel.normalization or normalization)
        terms.append((weighted, mu if mu.ndim == 2 else -np.diag(mu)))

    q = _softmax(-unary)
    steps, converged = 0, False
    energy, entropy = [], []
    while True:
        costs = sum((mu @ (q @ matrix.T) for matrix, mu in terms), np.zeros_like(q))
        energy.append(float((q * (unary + 0.5 * costs)).sum()))
        entropy.append(-float((q * np.log(np.maximum(q, np.finfo(np.float64).tiny))).sum()))
        if converged or steps == iterations:
            break
        before, q = q, _softmax(-unary - costs)
        steps += 1
        converged = tolerance > 0 and bool(np.abs(q - before).max() <= tolerance)
    out = np.empty(given.array.shape)
    (out_planes,) = given.planes(out)
    out_planes[...] = q
    return Inference(
        probabilities=out,
        labels=q.argmax(axis=0).astype(label_type(labels)).reshape(shape),
        steps=steps,
        active_labels=np.arange(labels),
        energy=np.array(energy),
        divergence=np.array(energy) - np.array(entropy),
    )


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

"""Pruning threshold of a CRF: its default and its check."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atrous.crf.kernels import Kernel, Normalization
from atrous.crf.result import check_fraction
from atrous.errors import InputError

# Labels whose ratio to the most probable label is below this at every point are pruned.
NEGLIGIBLE = 0.05


def pruning_threshold(
    prune: float | None,
    kernels: Sequence[Kernel],
    compatibilities: Sequence[NDArray[np.float64] | None],
    normalization: Normalization,
) -> float:
    """Return `prune`, or its default if None; 0 without kernels, since there are no steps to save.

    Raises InputError if a label that is improbable everywhere could rise, because the terms repel labels.
    """
    attractive = all(
        kernel.weight >= 0 if mu is None else mu.ndim == 1 and bool((mu * kernel.weight >= 0).all())
        for kernel, mu in zip(kernels, compatibilities, strict=True)
    )
    if prune is None:
        equal_compatibility = all(mu is None or (mu == mu.flat[0]).all() for mu in compatibilities)
        normalized = all((kernel.normalization or normalization) != "none" for kernel in kernels)
        prune = NEGLIGIBLE if attractive and equal_compatibility and normalized else 0.0
    threshold = check_fraction("prune", prune)
    if not kernels:
        return 0.0
    if threshold > 0 and not attractive:
        raise InputError(
            "prune: expected 0 with negative weights, a negative compatibility vector or a compatibility matrix,"
            f" got {prune!r}; pass prune=0"
        )
    return threshold

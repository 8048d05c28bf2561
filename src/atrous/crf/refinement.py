"""Inference in the CRFs of several images."""

from __future__ import annotations  # `help` shows ArrayLike by its name

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from atrous._parallel import map_ordered
from atrous._resources import check_threads
from atrous.crf.dense import DenseCRF
from atrous.crf.kernels import Kernel
from atrous.errors import InputError


def refine(
    images: Sequence[ArrayLike],
    probabilities: Sequence[ArrayLike],
    kernels: str | Sequence[Kernel] = "deeplab-largefov",
    *,
    threads: int | None = None,
    **options: Any,
) -> list[Any]:
    """Return the marginals of different images, each under its own CRF. Images are processed in parallel.

    Parameters
    ----------
    images : sequence of (H, W, 3) uint8 arrays, or (B, H, W, 3)
        RGB, of any sizes.
    probabilities : sequence of (C, H, W) or (H, W, C) arrays or tensors of float, or a batch (B, ...) of these
        Of each label at each pixel of each image, 0 to 1.
    kernels, **options
        As for `DenseCRF`.
    threads : int, optional
        Threads for all images together; the result does not depend on it. Default: the number of processors.

    Returns
    -------
    list of (C, H, W) or (H, W, C) float32
        As a call of each `DenseCRF` returns them.

    Raises
    ------
    InputError
        If an argument cannot be used; the message names the image.

    Examples
    --------
    >>> import numpy as np
    >>> from atrous.crf import refine
    >>> images = [np.zeros((2, 3, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)]
    >>> [q.shape for q in refine(images, [np.full((2, 2, 3), 0.5), np.full((2, 4, 4), 0.5)])]
    [(2, 2, 3), (2, 4, 4)]
    """
    if len(images) != len(probabilities):
        if getattr(images, "ndim", 4) < 4:  # an array, or a tensor
            raise InputError("images: expected a list of images, got one; pass [image] and [probabilities]")
        raise InputError(f"probabilities: expected {len(images)}, one for each image, got {len(probabilities)}")
    cores = check_threads(threads)
    together = min(cores, max(len(images), 1))

    def one(index: int) -> Any:
        try:
            return DenseCRF(images[index], kernels, threads=cores // together, **options)(probabilities[index])
        except InputError as error:
            raise InputError(f"image {index}: {error}") from None

    return list(map_ordered(one, range(len(images)), together))

"""pydensecrf.utils: unary energies of labels or probabilities, features of pictures of any dimensions."""

import math
import warnings
from collections.abc import Sequence
from logging import warning
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous.errors import InputError
from atrous.pydensecrf._validation import as_array, whole_number


def unary_from_labels(
    labels: ArrayLike, n_labels: int, gt_prob: float, zero_unsure: bool = True
) -> NDArray[np.float32]:
    """Return energies that believe a label map with some probability.

    Parameters
    ----------
    labels : array_like of int or bool, any shape
        1 to `n_labels`, 0 for unsure; or 0 to `n_labels` - 1 where `zero_unsure` is false.
    n_labels : int
        From 2 on; "unsure" does not count.
    gt_prob : float
        Probability that a given label is right, between 0 and 1.
    zero_unsure : bool
        Whether 0 means that each label is as likely as the others.

    Returns
    -------
    (n_labels, N) array of float32

    Raises
    ------
    InputError
        If a label is out of range or an argument cannot be used.
    """
    count = whole_number("n_labels", n_labels, 2)
    if not isinstance(gt_prob, Real) or not 0 < gt_prob < 1:
        raise InputError(f"gt_prob: expected a probability between 0 and 1, got {gt_prob!r}")
    array = as_array("labels", labels)
    if array.dtype.kind not in "biu" or array.size == 0:
        remedy = "; labels.astype(int) where they are whole numbers" if array.dtype.kind == "f" else ""
        raise InputError(f"labels: expected an array of integers, got {array.dtype} of shape {array.shape}{remedy}")
    flat = array.ravel().astype(np.int64)
    first = 1 if zero_unsure else 0
    low, high = int(flat.min()), int(flat.max())
    if low < 0 or high >= count + first:
        unsure = ", 0 for unsure" if zero_unsure else ""
        raise InputError(f"labels: expected {first} to {count + first - 1}{unsure}, got {low} to {high}")

    points = np.arange(flat.size)
    energies = np.full((count, flat.size), -np.log((1.0 - gt_prob) / (count - 1)), np.float32)
    energies[flat - first, points] = -np.log(gt_prob)
    if zero_unsure:
        energies[:, flat == 0] = -np.log(1.0 / count)
    return energies


def compute_unary(labels: ArrayLike, M: int, GT_PROB: float = 0.5) -> NDArray[np.float32]:
    """Return `unary_from_labels`, which replaces this older name."""
    warning("compute_unary is the older name of unary_from_labels; please use that")
    return unary_from_labels(labels, M, GT_PROB)


def unary_from_softmax(sm: ArrayLike, scale: float | None = None, clip: float | None = 1e-5) -> NDArray[np.float32]:
    """Return the energies of probabilities, ``-log(sm)``.

    Parameters
    ----------
    sm : (C, ...) array_like of float
        Probabilities, labels first.
    scale : float, optional
        Mix them with the uniform distribution: ``scale * sm + (1 - scale) / C``.
    clip : float or None
        Smallest probability; None leaves 0, whose energy is infinite.

    Returns
    -------
    (C, N) array of float32

    Raises
    ------
    InputError
        If an argument cannot be used.
    """
    array = as_array("sm", sm)
    if array.dtype.kind not in "fiu" or array.ndim == 0 or array.size == 0:
        raise InputError(f"sm: expected an array (C, ...) of float, got {array.dtype} of shape {array.shape}")
    labels = array.shape[0]
    if scale is not None:
        if not isinstance(scale, Real) or not 0 < scale <= 1:
            raise InputError(f"scale: expected a number over 0 and up to 1, got {scale!r}")
        # In double precision whatever sm is, so that the same bits come out as of pydensecrf.
        array = np.add(scale * array, (1 - scale) * (1 / labels), dtype=np.float64)
    if clip is not None:
        array = np.clip(array, clip, 1.0)
    with np.errstate(divide="ignore"):
        energies = -np.log(array)
    return energies.reshape(labels, -1).astype(np.float32)


def softmax_to_unary(sm: ArrayLike, GT_PROB: float = 1) -> NDArray[np.float32]:
    """Return `unary_from_softmax` without clipping, which replaces this older name."""
    warning("softmax_to_unary is the older name of unary_from_softmax; please use that")
    return unary_from_softmax(sm, None if GT_PROB == 1 else GT_PROB, clip=None)


def create_pairwise_gaussian(sdims: Sequence[float], shape: Sequence[int]) -> NDArray[np.float32]:
    """Return features for `DenseCRF.addPairwiseEnergy`: the places in a grid.

    Parameters
    ----------
    sdims : sequence of float
        Standard deviation along each axis of `shape`; of a picture, y before x. Infinity ignores an axis.
    shape : sequence of int
        Of the grid.

    Returns
    -------
    (len(shape), N) array of float32

    Raises
    ------
    InputError
        If there is not one standard deviation for each axis, or one is 0.
    """
    lengths = tuple(shape)
    features = np.empty((len(lengths), *lengths), np.float32)
    _fill_places(features, sdims)
    return features.reshape(len(lengths), -1)


def create_pairwise_bilateral(
    sdims: Sequence[float], schan: float | Sequence[float], img: ArrayLike, chdim: int = -1
) -> NDArray[np.float32]:
    """Return features for `DenseCRF.addPairwiseEnergy`: places in a grid, and what an image holds there.

    Parameters
    ----------
    sdims : sequence of float
        Standard deviation along each axis of the image but that of its channels; of a picture, y before x.
    schan : float or sequence of float
        Standard deviation of each channel; a number stands for all.
    img : array_like
        Any number of axes.
    chdim : int
        Which axis of `img` holds the channels; -1 where it has none.

    Returns
    -------
    (axes + channels, N) array of float32

    Raises
    ------
    InputError
        If there are more standard deviations than axes or channels, or one is 0.

    Warns
    -----
    UserWarning
        If there are fewer of them: as in pydensecrf the rest of the axes or channels is then not scaled.
    """
    array = as_array("img", img)
    if array.dtype.kind not in "fiub" or array.size == 0 or not -array.ndim <= chdim < array.ndim:
        raise InputError(
            f"img: expected an array of numbers with an axis chdim={chdim}, got {array.dtype} of shape {array.shape}"
        )
    channels = array[np.newaxis] if chdim == -1 else np.moveaxis(array, chdim, 0)
    count, *shape = channels.shape
    channel_sigmas = [schan] * count if isinstance(schan, Real) else _one_each("schan", "channel", schan, count)
    axis_sigmas = _one_each("sdims", "axis", sdims, len(shape))

    features = np.empty((len(shape) + count, *shape), np.float32)
    _fill_places(features, axis_sigmas)
    for feature, channel, sigma in zip(features[len(shape) :], channels, channel_sigmas, strict=True):
        _check_sigma("schan", sigma)
        feature[...] = channel
        feature /= sigma
    return features.reshape(len(features), -1)


def _one_each(name: str, of: str, sigmas: Any, count: int) -> list[Any]:
    """Return a standard deviation for each axis or channel, 1 for those that pydensecrf would leave as they are."""
    try:
        given = list(sigmas)
    except TypeError:
        given = None
    if given is None or len(given) > count:
        number = "a number or " if of == "channel" else ""
        raise InputError(f"{name}: expected {number}{count}, one for each {of}, got {sigmas!r}; see chdim")
    if len(given) < count:
        warnings.warn(
            f"{name}: got {len(given)}, expected {count}, one for each {of} (see chdim);"
            " as in pydensecrf, the rest is not scaled",
            stacklevel=3,
        )
    return given + [1.0] * (count - len(given))


def _fill_places(features: NDArray[np.float32], sdims: Sequence[float]) -> None:
    """Write the position along each axis, in standard deviations, to the first of the features."""
    axes = features.ndim - 1
    if np.shape(sdims) != (axes,):
        raise InputError(f"sdims: expected {axes} numbers, one for each axis, got {sdims!r}")
    for axis, sigma in enumerate(sdims):
        _check_sigma("sdims", sigma)
        places = np.arange(features.shape[axis + 1], dtype=np.float32)
        places /= sigma
        features[axis] = places.reshape(-1, *[1] * (axes - 1 - axis))


def _check_sigma(name: str, sigma: Any) -> None:
    if not isinstance(sigma, Real) or math.isnan(sigma) or sigma == 0:
        raise InputError(f"{name}: expected standard deviations other than 0, got {sigma!r}")

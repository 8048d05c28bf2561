"""Confusion matrix and the scores derived from it (Everingham et al. 2010; one matrix per set of images)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..labelmap.voc_colormap import VOID


class ConfusionMatrix:
    """Pixel counts by true and predicted class, summed over any number of images.

    Parameters
    ----------
    classes : int or (C, C) array_like of int
        Number of classes, for a matrix of zeros, or the initial counts.

    Attributes
    ----------
    counts : (C, C) int64
        `counts[t, p]`: number of pixels of true class t with predicted class p. Void pixels are not counted.
    """

    def __init__(self, classes: int | NDArray[np.int64]) -> None:
        self.counts = np.zeros((classes, classes), np.int64) if isinstance(classes, int) else classes.astype(np.int64)

    def add(self, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Count one image.

        Parameters
        ----------
        truth, predicted : (H, W) uint8
            Class ids; 255 in `truth` is void. A prediction must not contain void.

        Raises
        ------
        InputError
            If the shapes differ or an id is out of range.
        """
        self.counts += count_pixels(truth, predicted, len(self.counts))[0]

    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each class, (C,) float64; NaN for classes that do not occur."""
        return _ratios(*self.overlaps())

    def overlaps(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Intersection and union of each class in pixels, both (C,) int64."""
        hits = np.diagonal(self.counts)
        return hits, self.counts.sum(0) + self.counts.sum(1) - hits

    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that occur."""
        return float(mean_iou(*self.overlaps()))

    def recall(self) -> NDArray[np.float64]:
        """Share of each class' pixels that are correct, (C,) float64; NaN for classes not in the truth."""
        return _ratios(np.diagonal(self.counts), self.counts.sum(1))

    def precision(self) -> NDArray[np.float64]:
        """Share of the pixels predicted as each class that are correct, (C,) float64; NaN for unpredicted classes."""
        return _ratios(np.diagonal(self.counts), self.counts.sum(0))

    def pixel_accuracy(self) -> float:
        """Share of the labeled pixels that are correct."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else float("nan")

    def class_accuracy(self) -> float:
        """Mean of `recall` over the classes that occur in the truth."""
        return _mean(self.recall())

    def frequency_weighted_iou(self) -> float:
        """Mean of `iou`, weighted by each class' share of the true pixels (Long et al. 2015)."""
        true = self.counts.sum(1)
        total = true.sum()
        return float((true[true > 0] * self.iou()[true > 0]).sum() / total) if total else float("nan")

    def summary(self) -> dict[str, float]:
        """Return the scalar measures by name, 0 to 1."""
        return {
            "mean IoU": self.mean_iou(),
            "pixel accuracy": self.pixel_accuracy(),
            "class accuracy": self.class_accuracy(),
            "frequency-weighted IoU": self.frequency_weighted_iou(),
        }


def count_pixels(
    truth: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    classes: int,
    part: NDArray[np.uint8] | None = None,
    parts: int = 1,
) -> NDArray[np.int64]:
    """Count the labeled pixels of an image by part of the image, true class and predicted class.

    Parameters
    ----------
    truth, predicted : (H, W) uint8
        Class ids; 255 in `truth` is void and not counted.
    classes : int
    part : (H, W) uint8, optional
        Index of the part that contains each pixel, 0 to `parts` - 1. Default: 0 for all pixels.
    parts : int

    Returns
    -------
    (parts, classes, classes) int64

    Raises
    ------
    InputError
        If the shapes differ or an id is out of range.
    """
    if truth.shape != predicted.shape:
        raise InputError(f"predicted: expected the shape of truth, {truth.shape}, got {predicted.shape}")
    labeled = truth != VOID
    t, p = truth[labeled].astype(np.int64), predicted[labeled].astype(np.int64)
    for name, ids in (("truth", t), ("predicted labels", p)):
        if ids.size and ids.max() >= classes:
            raise InputError(f"{name}: expected ids 0 to {classes - 1}, got {ids.max()}")
    cell = classes * t + p
    if part is not None:
        cell += classes * classes * part[labeled].astype(np.int64)
    counts = np.bincount(cell, minlength=parts * classes * classes)
    return counts.astype(np.int64, copy=False).reshape(parts, classes, classes)


def mean_iou(both: NDArray[Any], either: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean intersection over union over the classes that occur; NaN if none occurs.

    Parameters
    ----------
    both, either : (..., C) array
        Intersection and union of each class in pixels.

    Returns
    -------
    (...) float64
    """
    ious = np.divide(both, either, out=np.zeros(both.shape), where=either > 0)
    occurring = (either > 0).sum(axis=-1)
    return np.divide(ious.sum(axis=-1), occurring, out=np.full(occurring.shape, np.nan), where=occurring > 0)


def _ratios(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

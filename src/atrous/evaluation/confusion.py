"""The confusion matrix that every score comes from (Everingham et al. 2010; one matrix per set of images)."""

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..palette.colours import VOID


class ConfusionMatrix:
    """Pixel counts by true and predicted class, summed over any number of images.

    Attributes
    ----------
    counts : (C, C) int64
        `counts[t, p]` pixels of true class t were given class p. Void pixels are not counted.
    """

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), np.int64)

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
        if truth.shape != predicted.shape:
            raise InputError(f"labels of shape {predicted.shape} scored against truth of shape {truth.shape}")
        n = len(self.counts)
        labelled = truth != VOID
        t, p = truth[labelled].astype(np.int64), predicted[labelled].astype(np.int64)
        for name, ids in (("truth", t), ("predicted labels", p)):
            if ids.size and ids.max() >= n:
                raise InputError(f"{name} hold the id {ids.max()}; expected 0 to {n - 1}")
        self.counts += np.bincount(n * t + p, minlength=n * n).reshape(n, n)

    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each class, (C,) float64; NaN where a class occurs in neither."""
        hits = np.diagonal(self.counts).astype(np.float64)
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)

    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that occur."""
        iou = self.iou()
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")

    def pixel_accuracy(self) -> float:
        """Share of the labelled pixels that are right."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else float("nan")

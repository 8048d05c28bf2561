"""Training loss: cross-entropy with label maps, optionally mixed with soft targets."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..labelmap.voc_colormap import VOID


def mixed_targets(labels: Tensor, soft: Tensor, weight: float) -> Tensor:
    """Mix a label map with another network's probabilities.

    The target of a labeled cell is (1 - weight) times its one-hot label plus weight times the soft target. The target
    of a void cell inside the image is weight times the soft target, so that it counts less. Outside the image it is 0.

    Parameters
    ----------
    labels : (h, w) int
        255 is void.
    soft : (C, n, m) float32
        Probabilities at the cells inside the image, the first n rows and m columns.
    weight : float
        Weight of the soft target, 0 to 1.

    Returns
    -------
    (C, h, w) float32
    """
    classes, rows, columns = soft.shape
    targets = torch.zeros((classes, *labels.shape))
    targets[:, :rows, :columns] = weight * soft
    known = labels != VOID
    one_hot = F.one_hot(labels.long()[known], classes).T.float()
    targets[:, known] += (1 - weight) * one_hot
    return targets


class Criterion:
    """Cross-entropy over the labeled cells of a step (Chen et al. 2015, section 3.1).

    The sum over the cells of all images is divided by their number, as in the authors' Caffe files. Void cells are
    ignored. A cell of mixed targets counts by the sum of its target, which is 1 for labeled cells.

    Parameters
    ----------
    weights : (C,) float32, optional
        Weight of each class. Default: 1.
    device : torch.device or str
        Device of the scores.
    """

    def __init__(self, weights: Tensor | None = None, device: torch.device | str = "cpu") -> None:
        self._weights = weights
        self._on_device = None if weights is None else weights.to(device)

    def total(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy summed over all cells.

        Parameters
        ----------
        scores : (N, C, h, w)
        targets : (N, h, w) int64, or (N, C, h, w) float32
            Label maps, 255 is void; or the result of `mixed_targets`.
        """
        if targets.is_floating_point():
            return F.cross_entropy(scores.float(), targets, self._on_device, reduction="sum")
        return F.cross_entropy(scores.float(), targets, self._on_device, ignore_index=VOID, reduction="sum")

    def cells(self, targets: Tensor) -> float:
        """Return the divisor of the total: the number of labeled cells, weighted by class."""
        if targets.is_floating_point():
            sums = targets.sum(dim=(0, 2, 3), dtype=torch.float64)
            return float(sums.sum() if self._weights is None else (sums * self._weights).sum())
        labeled = targets[targets != VOID]
        return float(labeled.numel() if self._weights is None else self._weights[labeled].sum())

"""The criterion of training: cross-entropy with label maps, or with these and soft targets mixed."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..labelmap.voc_colormap import VOID


def mixed_targets(labels: Tensor, soft: Tensor, weight: float) -> Tensor:
    """Mix a label map with another network's probabilities.

    The target of a labeled cell is (1 - weight) of its one-hot label and weight of the soft target; of a void cell
    inside the image it is weight of the soft target alone, so that it counts less; outside the image it is 0.

    Parameters
    ----------
    labels : (h, w) int
        255 is void.
    soft : (C, n, m) float32
        Probabilities at the cells inside the image, the first n rows and m columns.
    weight : float
        0 to 1.

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


def segmentation_loss(scores: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy summed over the cells of all images (Chen et al. 2015, section 3.1); void is ignored.

    Parameters
    ----------
    scores : (N, C, h, w)
    targets : (N, h, w) int64, or (N, C, h, w) float32
        Label maps, 255 is void; or what `mixed_targets` returns.
    weights : (C,) float32, optional
        Weight of each class.
    """
    if targets.is_floating_point():
        return F.cross_entropy(scores.float(), targets, weights, reduction="sum")
    return F.cross_entropy(scores.float(), targets, weights, ignore_index=VOID, reduction="sum")


def loss_divisor(targets: Tensor, weights: Tensor | None = None) -> float:
    """Return what the summed loss is divided by: the cells that are not void, each by its weight.

    A cell of mixed targets counts by the sum of its target, 1 where it is labeled.
    """
    if targets.is_floating_point():
        totals = targets.sum(dim=(0, 2, 3), dtype=torch.float64)
        return float(totals.sum() if weights is None else (totals * weights).sum())
    labeled = targets[targets != VOID]
    return float(labeled.numel() if weights is None else weights[labeled].sum())

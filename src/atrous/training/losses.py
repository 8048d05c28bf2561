"""Training losses: cross-entropy with label maps or soft targets, and the fully connected CRF's."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..crf import Bilateral
from ..data.transforms import MEAN_BGR
from ..labelmap.voc_colormap import VOID
from ..meanfield import DenseCRFLoss

# Of the loss' kernel, in pixels and color values, as in the experiments of Tang et al. 2018.
_SXY, _SRGB = 100.0, 15.0


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


def colors_of(pixels: Tensor) -> Tensor:
    """Return a network's input, (..., 3, H, W), as the colors of a photo, whole numbers from 0 to 255."""
    return (pixels + pixels.new_tensor(MEAN_BGR)[:, None, None]).round()


class CrfLoss:
    """Loss of the fully connected CRF on a network's scores, which needs no labels (Tang et al. 2018).

    It is computed on the grid of the scores, with the image's pixels under its cells. Cells outside the image do not
    count.

    Parameters
    ----------
    weight : float
        Weight beside the cross-entropy; the loss of a crop lies in [0, 1] before.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def total(self, scores: Tensor, images: Tensor) -> Tensor:
        """Return the weighted loss summed over crops.

        Parameters
        ----------
        scores : (N, C, h, w)
            On a grid whose corners lie on the image's corner pixels.
        images : (N, 3, H, W)
            As the network takes them: minus the mean pixel, 0 outside the image.
        """
        step = (images.shape[-1] - 1) // max(scores.shape[-1] - 1, 1)
        pixels = images[:, :, ::step, ::step]
        inside = (pixels != 0).any(1)
        loss = DenseCRFLoss([Bilateral(weight=self.weight, sxy=_SXY / step, srgb=_SRGB)], scale=1)
        total: Tensor = loss(scores.float().softmax(1), colors_of(pixels), inside) * len(images)
        return total

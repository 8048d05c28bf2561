"""Multi-scale prediction: branches that read the image and the first four pools (Chen et al. 2015, section 4.3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dropout import dropout

BRANCH_CHANNELS = 128

# Input of each branch: its channels, and the stride to the grid of stride 8.
BRANCHES = {
    "image": (3, 8),
    "pool1": (64, 4),
    "pool2": (128, 2),
    "pool3": (256, 1),
    "pool4": (512, 1),
}

# Cells per band of a branch without a backward pass: 128 channels at an image's full size take 135 MB at 513 x 513.
BAND_CELLS = 1 << 16


class Branch(nn.Module):
    """Two layers of 128 filters, 3x3 and 1x1, and a linear classifier.

    Parameters
    ----------
    channels : int
        Number of input channels.
    classes : int
    dropout : float
        Probability of the element-wise dropout after both layers during training.
    """

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.layer1 = nn.Conv2d(channels, BRANCH_CHANNELS, 3, padding=1)
        self.layer2 = nn.Conv2d(BRANCH_CHANNELS, BRANCH_CHANNELS, 1)
        self.classifier = nn.Conv2d(BRANCH_CHANNELS, classes, 1)

    def forward(self, x: Tensor, stride: int = 1) -> Tensor:
        """Map (N, channels, h, w) to (N, classes, h / stride, w / stride) scores; the last cells reach the edge.

        At stride 1 without gradients, the rows are computed in bands, so that the intermediate layers need little
        memory.
        """
        _, _, h, w = x.shape
        banded = not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling())
        if stride > 1 or not banded:
            # Padding, where pools in ceil mode reach beyond the edge.
            x = F.pad(x, (1, 1 + (1 - w) % stride, 1, 1 + (1 - h) % stride))
            return self._layers(x, stride)
        x = F.pad(x, (1, 1, 1, 1))
        rows = max(1, BAND_CELLS // (w * len(x)))
        bands = [self._layers(x[..., top : top + rows + 2, :], 1) for top in range(0, h, rows)]
        return torch.cat(bands, dim=-2)

    def _layers(self, padded: Tensor, stride: int) -> Tensor:
        x = F.relu(F.conv2d(padded, self.layer1.weight, self.layer1.bias, stride), inplace=True)
        x = dropout(x, self.dropout, self.training)
        x = F.relu(self.layer2(x), inplace=True)
        x = dropout(x, self.dropout, self.training)
        scores: Tensor = self.classifier(x)
        return scores


class MultiScale(nn.Module):
    """The five branches, summed with the trunk's scores.

    A sum of score maps is equivalent to the paper's linear classifier on the concatenated features, with the
    classifier's weights split by branch.

    Parameters
    ----------
    classes : int
    dropout : float
    """

    def __init__(self, classes: int, dropout: float) -> None:
        super().__init__()
        for name, (channels, _) in BRANCHES.items():
            self.add_module(name, Branch(channels, classes, dropout))

    def forward(self, levels: Sequence[Tensor], scores: Tensor) -> Tensor:
        """Add the branches' scores to the trunk's scores.

        Parameters
        ----------
        levels : sequence of (N, c, h, w)
            The image and pool1 to pool4.
        scores : (N, classes, h / 8, w / 8)
            Scores of the trunk.

        Returns
        -------
        Tensor
            Scores on the grid of `scores` during training; otherwise at the image's size, to which each score map is
            upsampled.
        """
        if self.training:
            for (name, (_, stride)), level in zip(BRANCHES.items(), levels, strict=True):
                scores = scores + self.get_submodule(name)(level, stride)
            return scores
        # From coarse to fine: upsampling is linear, and three times x2 is x8, so each map is upsampled together with
        # the coarser ones, and only one map at a time has the image's size.
        grid = 1
        for name, level in zip(reversed(BRANCHES), reversed(levels), strict=True):
            _, finer = BRANCHES[name]
            if finer > grid:
                scores = upsample_twice(scores)[..., : level.shape[-2], : level.shape[-1]]
            grid = finer
            scores = scores + self.get_submodule(name)(level)
        return scores


def upsample_twice(scores: Tensor) -> Tensor:
    """Upsample bilinearly with aligned corners: (N, C, h, w) to (N, C, 2 h - 1, 2 w - 1)."""
    h, w = scores.shape[-2:]
    return F.interpolate(scores, size=(2 * h - 1, 2 * w - 1), mode="bilinear", align_corners=True)


@torch.no_grad()
def initialize_branches(branches: MultiScale, generator: torch.Generator | None = None) -> None:
    """Initialize the branches at random as in the authors' Caffe files, with zero biases.

    The initial scores are small compared with those of a trained network, so training starts close to it.
    """
    for name in BRANCHES:
        branch = branches.get_submodule(name)
        hidden = 0.005 if name == "pool4" else 0.001
        for layer, std in ((branch.layer1, hidden), (branch.layer2, hidden), (branch.classifier, 0.01)):
            assert isinstance(layer, nn.Conv2d)
            layer.weight.normal_(0.0, std, generator=generator)
            assert layer.bias is not None
            layer.bias.zero_()

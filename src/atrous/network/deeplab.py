"""DeepLab: VGG-16 with the hole algorithm (Chen et al. 2015, sections 3.1 and 3.2)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InputError
from .dropout import dropout
from .multiscale import MultiScale, initialize_branches
from .variants import variant


class Stage(NamedTuple):
    """A block of VGG-16: its 3x3 convolutions and the 3x3 max-pooling after them."""

    convolutions: int
    channels: int
    dilation: int
    pool_stride: int


# pool4 and pool5 do not decimate. conv5 is dilated, so that its taps read the same features as in VGG-16.
TRUNK = {
    "conv1": Stage(convolutions=2, channels=64, dilation=1, pool_stride=2),
    "conv2": Stage(convolutions=2, channels=128, dilation=1, pool_stride=2),
    "conv3": Stage(convolutions=3, channels=256, dilation=1, pool_stride=2),
    "conv4": Stage(convolutions=3, channels=512, dilation=1, pool_stride=1),
    "conv5": Stage(convolutions=3, channels=512, dilation=2, pool_stride=1),
}

OUTPUT_STRIDE = 8


class DeepLab(nn.Module):
    """DeepLab network: class scores on a grid of stride 8, or at the image's size with multi-scale prediction.

    Parameters
    ----------
    name : str
        A variant of the paper: "deeplab-largefov", "deeplab", "deeplab-4x4" or "deeplab-7x7".
    classes : int
        Number of classes, background included.
    dropout : float
        Probability of the element-wise dropout after fc6 and fc7, and in the branches, during training.
    multiscale : bool
        Whether to add multi-scale prediction (MSc): five branches that read the image and pool1 to pool4.

    Notes
    -----
    The forward pass takes ``(N, 3, H, W)`` float32, blue-green-red, 0 to 255 minus the mean pixel, and returns
    ``(N, classes, ceil((H - 1) / 8) + 1, ...)`` unnormalized scores. For H = 8 k - 7 the grid's corners lie exactly on
    the image's corner pixels. With multi-scale prediction it does so only during training; in evaluation mode it
    returns ``(N, classes, H, W)``.
    """

    def __init__(
        self, name: str = "deeplab-largefov", classes: int = 21, dropout: float = 0.5, multiscale: bool = False
    ) -> None:
        super().__init__()
        row = variant(name)
        if classes < 2:
            raise InputError(f"classes={classes}: expected at least 2, background included")
        self.variant = row
        self.classes = classes
        self.dropout = dropout
        channels = 3
        for stage, spec in TRUNK.items():
            for i in range(1, spec.convolutions + 1):
                layer = nn.Conv2d(channels, spec.channels, 3, padding=spec.dilation, dilation=spec.dilation)
                self.add_module(f"{stage}_{i}", layer)
                channels = spec.channels
        self.fc6 = nn.Conv2d(channels, row.channels, row.kernel, padding=row.padding, dilation=row.dilation)
        self.fc7 = nn.Conv2d(row.channels, row.channels, 1)
        self.fc8 = nn.Conv2d(row.channels, classes, 1)
        self.branches = MultiScale(classes, dropout) if multiscale else None

    @property
    def name(self) -> str:
        """Name in the paper: the variant's, with "-msc" for multi-scale prediction."""
        return self.variant.name if self.branches is None else self.variant.multiscale_name

    @property
    def output_stride(self) -> int:
        """Step of the score grid in pixels, in evaluation mode."""
        return OUTPUT_STRIDE if self.branches is None else 1

    def pools(self, x: Tensor) -> list[Tensor]:
        """Return the image and pool1 to pool5, the last three at stride 8."""
        levels = [x]
        for stage, spec in TRUNK.items():
            for i in range(1, spec.convolutions + 1):
                x = F.relu(self.get_submodule(f"{stage}_{i}")(x), inplace=True)
            # Caffe's geometry: ceil mode with padding of -inf, not 0.
            x = F.max_pool2d(x, 3, stride=spec.pool_stride, padding=1, ceil_mode=True)
            levels.append(x)
        return levels

    def trunk(self, x: Tensor) -> Tensor:
        """Run conv1_1 to pool5a: (N, 3, H, W) to (N, 512, H / 8, W / 8) features."""
        return self._pool5a(self.pools(x)[-1])

    def _pool5a(self, x: Tensor) -> Tensor:
        # Divides by nine at the borders, too.
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=True)

    def head(self, x: Tensor) -> Tensor:
        """Run fc6 to fc8: features to (N, classes, H / 8, W / 8) scores, with dropout during training."""
        x = dropout(F.relu(self.fc6(x)), self.dropout, self.training)
        x = dropout(F.relu(self.fc7(x)), self.dropout, self.training)
        scores: Tensor = self.fc8(x)
        return scores

    def forward(self, image: Tensor) -> Tensor:
        """Compute the scores; see the class notes."""
        *levels, last = self.pools(image)
        scores = self.head(self._pool5a(last))
        return scores if self.branches is None else self.branches(levels, scores)

    def freeze_through(self, stage: str | None) -> None:
        """Exclude the layers from conv1 up to and including `stage` from training.

        Their dropout stays active.

        Parameters
        ----------
        stage : str or None
            "conv1" to "conv5"; "fc8", the whole plain network, to train only the branches of multi-scale prediction;
            None to train all layers.

        Raises
        ------
        InputError
            If the stage is unknown, or no layer remains to train.
        """
        stages = (*TRUNK, "fc6", "fc7", "fc8")
        known = (*TRUNK, "fc8")
        if stage is not None and stage not in known:
            raise InputError(f"stage: expected one of {', '.join(known)} or None, got {stage!r}")
        if stage == "fc8" and self.branches is None:
            raise InputError(f"stage='fc8': no layer of {self.name} remains to train; use multiscale=True")
        frozen = () if stage is None else stages[: stages.index(stage) + 1]
        for key, parameter in self.named_parameters():
            parameter.requires_grad_(not key.startswith(frozen))


def output_size(side: int) -> int:
    """Return the number of score cells along a side of `side` pixels (three halvings in ceil mode)."""
    for _ in range(3):
        side = -((side - 1) // -2) + 1
    return side


@torch.no_grad()
def initialize_head(net: DeepLab, generator: torch.Generator | None = None) -> None:
    """Initialize fc6, fc7 and fc8 at random with zero biases, and the branches of multi-scale prediction, if any.

    The paper starts from ImageNet's fc6 and fc7. If only the convolutions are available, training works with these
    Gaussians; with He initialization of both layers it diverged at the paper's learning rate of 1e-3.
    """
    for layer, std in ((net.fc6, 0.008), (net.fc7, 0.02), (net.fc8, 0.002)):
        layer.weight.normal_(0.0, std, generator=generator)
        assert layer.bias is not None
        layer.bias.zero_()
    if net.branches is not None:
        initialize_branches(net.branches, generator)

"""DeepLab with the fully connected CRF on top, trained together (Zheng et al. 2015)."""

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..crf import Bilateral, Kernel, Spatial
from ..data.metadata import CrfParameters
from ..meanfield import DenseCRFLayer
from ..network.deeplab import DeepLab
from ..network.torch_backend import RELEASED_LARGEFOV
from .config import Recipe
from .losses import colors_of


class EndToEnd(nn.Module):
    """Network with the CRF on top, whose kernel weights are learned with it.

    Parameters
    ----------
    net : DeepLab
    recipe : Recipe
        With `crf_steps` above 0.
    crf : CrfParameters
        Initial kernels, in pixels of the image, and the normalization.

    Notes
    -----
    The forward pass takes the network's input and returns the CRF's scores on the grid of `recipe.target_stride`; 0
    outside the images.
    """

    def __init__(self, net: DeepLab, recipe: Recipe, crf: CrfParameters = RELEASED_LARGEFOV) -> None:
        super().__init__()
        self.net = net
        self.stride = recipe.target_stride
        self.learn = ("weights", "sxy", "srgb") if recipe.crf_sigmas else ("weights",)
        self.steps = recipe.crf_steps
        self.crf = self._layer(crf)
        self._initial = crf

    def set_crf(self, crf: CrfParameters) -> None:
        """Set the CRF's numbers in place, so that an optimizer keeps its parameters."""
        self.crf.load_state_dict(self._layer(crf).state_dict())
        self.crf.normalization = crf.normalization
        self._initial = crf

    @property
    def crf_parameters(self) -> CrfParameters:
        """The CRF with its learned numbers, in pixels of the image, for the segmenter."""
        spatial, bilateral = (weight.item() for weight in self.crf.weights)
        found = dataclasses.replace(self._initial, spatial_weight=spatial, weight=bilateral)
        if "sxy" not in self.learn:
            return found
        spatial_sxy, sxy = (log.exp().item() * self.stride for log in self.crf.log_sxy)
        return dataclasses.replace(found, spatial_sxy=spatial_sxy, sxy=sxy, srgb=self.crf.log_srgb[0].exp().item())

    def forward(self, images: Tensor) -> Tensor:
        """Compute the CRF's scores; see the class notes."""
        with torch.no_grad():
            for weight in self.crf.weights:
                weight.clamp_(min=0)
        pixels = images[:, :, :: self.stride, :: self.stride]
        scores: Tensor = self.net(images).float()
        if scores.shape[2:] != pixels.shape[2:]:
            scores = F.interpolate(scores, pixels.shape[2:], mode="bilinear", align_corners=True)
        inside = (pixels != 0).any(1)  # 0 is the mean pixel, with which crops are padded at the bottom and right
        heights, widths = inside.any(2).sum(1).tolist(), inside.any(1).sum(1).tolist()
        colors = colors_of(pixels).contiguous()
        height, width = pixels.shape[2:]
        if min(heights) == height and min(widths) == width:
            refined: Tensor = self.crf(scores, colors)
            return refined
        parts = [
            F.pad(self.crf(scores[n : n + 1, :, :h, :w], colors[n : n + 1, :, :h, :w]), (0, width - w, 0, height - h))
            for n, (h, w) in enumerate(zip(heights, widths, strict=True))
        ]
        return torch.cat(parts)

    def _layer(self, crf: CrfParameters) -> DenseCRFLayer:
        kernels: list[Kernel] = [
            Spatial(weight=crf.spatial_weight, sxy=crf.spatial_sxy / self.stride),
            Bilateral(weight=crf.weight, sxy=crf.sxy / self.stride, srgb=crf.srgb),
        ]
        return DenseCRFLayer(
            kernels,
            labels=self.net.classes,
            iterations=self.steps,
            normalization=crf.normalization,
            learn=self.learn,
        )


def build(recipe: Recipe, classes: int) -> DeepLab | EndToEnd:
    """Return a recipe's network, with the CRF on top if it has one; its frozen layers are excluded from training."""
    net = DeepLab(recipe.variant, classes, recipe.dropout, recipe.multiscale)
    net.freeze_through(recipe.frozen)
    return EndToEnd(net, recipe) if recipe.crf_steps else net


def split(model: DeepLab | EndToEnd) -> tuple[DeepLab, CrfParameters | None]:
    """Return the network alone, and the CRF that was trained with it."""
    return (model.net, model.crf_parameters) if isinstance(model, EndToEnd) else (model, None)

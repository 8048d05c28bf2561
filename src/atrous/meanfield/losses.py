"""Losses that ask for labels along the edges of an image, without labels of its pixels."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..crf import Bilateral
from ..errors import InputError
from .filters import Filtering, make_filter, product, scales
from .terms import check_image


def _without_autocast(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compute in float32: half precision is too coarse for positions and colors."""

    @functools.wraps(forward)
    def wrapped(self: nn.Module, first: Tensor, *args: Any, **options: Any) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            return forward(self, first, *args, **options)

    return wrapped


class DenseCRFLoss(nn.Module):
    """Energy of the fully connected CRF for soft labels (Tang et al. 2018).

    ``sum_ij K_ij r_i r_j (1 - s_i . s_j) / sum_i r_i``: the share of a pixel's neighbors, weighted by the kernel, that
    have other labels. K is normalized symmetrically: the loss lies in [0, 1] for any image size and kernel width, and a
    weight of 0.1 to 1 beside a cross-entropy makes sense.

    Parameters
    ----------
    kernels : sequence of Bilateral
        Their weights add up to the weight of the loss.
    scale : float
        Images and probabilities are resized by this first; standard deviations in pixels are of the original size.
    gate : bool
        Ignore confident neighbors of labeled pixels: the weight of a pixel is 1 where `labeled` is False, elsewhere 1
        minus its largest probability (Zhang et al. 2020).
    filtering : "auto", "lattice", "fine" or "exact"
        See `gaussian_filter`.

    Examples
    --------
    >>> import torch
    >>> from atrous.crf import Bilateral
    >>> from atrous.meanfield import DenseCRFLoss
    >>> loss = DenseCRFLoss([Bilateral(weight=1, sxy=100, srgb=15)], scale=0.5)
    >>> image = torch.zeros(1, 3, 8, 8)
    >>> bool(loss(torch.full((1, 2, 8, 8), 0.5), image) > 0.4)
    True
    """

    def __init__(
        self, kernels: Sequence[Bilateral], *, scale: float = 0.5, gate: bool = False, filtering: Filtering = "auto"
    ) -> None:
        super().__init__()
        if not kernels or not all(isinstance(kernel, Bilateral) for kernel in kernels):
            raise InputError(f"kernels: expected one Bilateral or more, got {kernels!r}")
        if not 0 < scale <= 1:
            raise InputError(f"scale={scale}: expected a factor above 0, at most 1")
        self.kernels, self.scale, self.gate, self.filtering = tuple(kernels), scale, gate, filtering

    @classmethod
    def rloss(cls, weight: float, sigma_rgb: float, sigma_xy: float, scale_factor: float) -> nn.Module:
        """Return the loss of the project rloss, with its arguments, numbers and sign.

        ``-weight / B sum_ij K_ij s_i . s_j``, without normalization, negative. It is called with images of values 0 to
        255, segmentations (probabilities) and ROIs (B, H, W).
        """
        return _Rloss(weight, sigma_rgb, sigma_xy, scale_factor)

    @_without_autocast
    def forward(
        self,
        probabilities: Tensor,
        image: Tensor,
        weight: Tensor | None = None,
        labeled: Tensor | None = None,
    ) -> Tensor:
        """Return the mean loss of a batch.

        Parameters
        ----------
        probabilities : (B, C, H, W)
            Sum to 1 over C.
        image : (B, bands, H, W)
            Values as in the files.
        weight : (B, H, W), optional
            Weight of each pixel, 0 to 1: 0 outside of the region of interest. Default: ones.
        labeled : (B, H, W) bool, optional
            Pixels with labels; for `gate`.

        Raises
        ------
        InputError
            If the shapes or values do not fit.
        """
        probabilities, image = _inputs(probabilities, image, self.kernels)
        weight = _of_pixels(weight, "weight", probabilities)
        if labeled is not None and (labeled.dtype != torch.bool or not self.gate):
            raise InputError(
                f"labeled: expected bool, such as labels != 255, and a loss with gate=True, got {labeled.dtype} and"
                f" gate={self.gate}"
            )
        known = torch.zeros_like(weight) if labeled is None else _of_pixels(labeled, "labeled", probabilities)
        size = tuple(max(1, round(side * self.scale)) for side in probabilities.shape[2:])
        probabilities, image = (
            F.interpolate(each, size, mode="bilinear", align_corners=False) if self.scale != 1 else each
            for each in (probabilities, image)
        )
        weight, known = F.interpolate(torch.stack([weight, known], 1), size, mode="nearest").unbind(1)
        gated = torch.where(known > 0.5, weight * (1 - probabilities.detach().amax(1)), weight)
        right = (probabilities * weight[:, None]).flatten(2).transpose(1, 2)
        left = (probabilities * gated[:, None]).flatten(2).transpose(1, 2)
        total = probabilities.new_zeros(len(probabilities))
        for kernel in self.kernels:
            with torch.no_grad():
                features = _features(image, kernel, self.scale)
                found = make_filter(features, self.filtering, size[1])
                mass = found.apply(torch.ones_like(features[..., :1]))[..., 0]
                root, _ = scales(mass, "symmetric")
                assert root is not None
                ones = weight.flatten(1) * root
                pairs = (gated.flatten(1) * root * found.apply(ones[..., None])[..., 0]).sum(1)
            same = product(right * root[..., None], None, found)
            total = total + kernel.weight * (pairs - (left * root[..., None] * same).sum((1, 2)))
        return (total / weight.flatten(1).sum(1).clamp_min(1e-6)).mean()


class _Rloss(nn.Module):
    def __init__(self, weight: float, sigma_rgb: float, sigma_xy: float, scale_factor: float) -> None:
        super().__init__()
        self.weight, self.scale = weight, scale_factor
        self.kernel = Bilateral(weight=1, sxy=sigma_xy, srgb=sigma_rgb)

    @_without_autocast
    def forward(self, images: Tensor, segmentations: Tensor, ROIs: Tensor) -> Tensor:
        """Return the loss."""
        segmentations, images = _inputs(segmentations, images, [self.kernel])
        size = [int(side * self.scale) for side in segmentations.shape[2:]]
        images = F.interpolate(images, size, mode="nearest")
        rois = F.interpolate(_of_pixels(ROIs, "ROIs", segmentations)[:, None], size, mode="nearest")
        s = F.interpolate(segmentations, size, mode="bilinear", align_corners=False) * rois
        found = make_filter(_features(images, self.kernel, self.scale), "lattice")
        s = s.flatten(2).transpose(1, 2)
        return -self.weight * (s * product(s, None, found)).sum() / len(s)


class GatedCRFLoss(nn.Module):
    """Energy of a CRF over pairs of pixels in a window (Obukhov et al. 2019), in memory for B C H W numbers.

    ``sum k_ij g_i g_j (1 - y_i . y_j) / sum_i g_i`` over all j within `radius` of i on both axes.

    Parameters
    ----------
    kernels : sequence of Bilateral
    radius : int
        In pixels.
    """

    def __init__(self, kernels: Sequence[Bilateral], *, radius: int = 5) -> None:
        super().__init__()
        if not kernels or not all(isinstance(kernel, Bilateral) for kernel in kernels):
            raise InputError(f"kernels: expected one Bilateral or more, got {kernels!r}")
        if not isinstance(radius, int) or radius < 1:
            raise InputError(f"radius={radius!r}: expected a whole number of pixels, 1 or more")
        self.kernels, self.radius = tuple(kernels), radius

    @_without_autocast
    def forward(self, probabilities: Tensor, image: Tensor, gate: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        probabilities : (B, C, H, W)
        image : (B, bands, H, W)
            Values as in the files.
        gate : (B, H, W), optional
            Weight of each pixel, 0 to 1. Default: ones.

        Raises
        ------
        InputError
            If the shapes or values do not fit.
        """
        probabilities, image = _inputs(probabilities, image, self.kernels)
        gate = _of_pixels(gate, "gate", probabilities)
        size = probabilities.shape[2:]
        features = [
            _features(image, kernel, 1.0).transpose(1, 2).reshape(len(image), -1, *size).detach()
            for kernel in self.kernels
        ]
        weights = [kernel.weight for kernel in self.kernels]
        loss: Tensor = _Window.apply(probabilities, gate, features, weights, self.radius)  # type: ignore[no-untyped-call]
        return loss


class _Window(torch.autograd.Function):
    """The loss and, in the same pass over half of the window's offsets, its gradient."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, gate: Tensor, features: list[Tensor], weights: list[float], radius: int) -> Tensor:
        height, width = y.shape[2:]
        total = gate.sum().clamp_min(1e-6)
        grad, loss = torch.zeros_like(y), y.new_zeros(())
        for dy in range(min(radius, height - 1) + 1):
            for dx in range(-radius, radius + 1):
                if (dy == 0 and dx <= 0) or abs(dx) >= width:
                    continue
                rows, columns = slice(0, height - dy), slice(max(0, -dx), width - max(0, dx))
                beside = slice(dy, height), slice(max(0, dx), width - max(0, -dx))
                k = sum(
                    w * torch.exp(-0.5 * (f[:, :, rows, columns] - f[:, :, beside[0], beside[1]]).square().sum(1))
                    for w, f in zip(weights, features, strict=True)
                )
                k = 2 * k * gate[:, rows, columns] * gate[:, beside[0], beside[1]] / total
                here, there = y[:, :, rows, columns], y[:, :, beside[0], beside[1]]
                loss += (k * (1 - (here * there).sum(1))).sum()
                grad[:, :, rows, columns] -= k[:, None] * there
                grad[:, :, beside[0], beside[1]] -= k[:, None] * here
        ctx.save_for_backward(grad)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        (to_y,) = ctx.saved_tensors
        return grad * to_y, None, None, None, None


def _features(image: Tensor, kernel: Bilateral, scale: float) -> Tensor:
    """Return x, y and the bands in standard deviations, (B, N, 2 + bands); sxy is of the image before scaling."""
    sxy, srgb = kernel.sigmas(2, image.shape[1])
    y, x = (torch.arange(side, device=image.device, dtype=image.dtype) for side in image.shape[2:])
    places = torch.stack(torch.meshgrid(x / (sxy[0] * scale), y / (sxy[1] * scale), indexing="xy"), -1)
    bands = image.flatten(2).transpose(1, 2) / image.new_tensor(srgb)
    return torch.cat([places.reshape(1, -1, 2).expand(len(image), -1, -1), bands], -1)


def _inputs(probabilities: Tensor, image: Tensor, kernels: Sequence[Bilateral]) -> tuple[Tensor, Tensor]:
    """Check and return probabilities and image in float32, or float64 if the probabilities are."""
    if probabilities.ndim != 4 or image.ndim != 4 or probabilities.shape[0] != image.shape[0]:
        raise InputError(
            f"probabilities, image: expected (B, C, H, W) and (B, bands, H, W), got {tuple(probabilities.shape)} and"
            f" {tuple(image.shape)}"
        )
    if probabilities.shape[2:] != image.shape[2:]:
        raise InputError(
            f"image: expected {tuple(probabilities.shape[2:])} pixels, like the probabilities, got"
            f" {tuple(image.shape[2:])}"
        )
    if not probabilities.is_floating_point():
        raise InputError(f"probabilities: expected floats, got {probabilities.dtype}")
    if probabilities.shape[1] < 2:
        raise InputError(
            f"probabilities: expected at least two labels, got {tuple(probabilities.shape)}; for a sigmoid p pass"
            " torch.cat([1 - p, p], 1)"
        )
    low, high = (float(each) for each in torch.aminmax(probabilities.detach()))
    if not (low >= -0.01 and high <= 1.01):
        raise InputError(f"probabilities: expected 0 to 1, got {low:.3g} to {high:.3g}; apply a softmax to scores")
    least, most = (float(each) for each in torch.aminmax(probabilities.detach().float().sum(1)))
    if not (least > 0.95 and most < 1.05):  # in half precision the sums are not exact
        raise InputError(f"probabilities: expected a sum of 1 over the labels, got {least:.3g} to {most:.3g}")
    check_image(image, min(min(kernel.sigmas(2, image.shape[1])[1]) for kernel in kernels))
    probabilities = probabilities if probabilities.dtype == torch.float64 else probabilities.float()
    return probabilities, image.to(probabilities)


def _of_pixels(values: Tensor | None, name: str, probabilities: Tensor) -> Tensor:
    """Check and return a weight for each pixel, (B, H, W), like the probabilities; ones for None."""
    if values is None:
        return torch.ones_like(probabilities[:, 0])
    expected = tuple(probabilities[:, 0].shape)
    if values.shape != expected or values.device != probabilities.device:
        raise InputError(
            f"{name}: expected {expected} on {probabilities.device}, got {tuple(values.shape)} on {values.device}"
        )
    low, high = (float(each) for each in torch.aminmax(values))
    if not (low >= 0 and high <= 1):
        raise InputError(f"{name}: expected weights from 0 to 1, got {low:.3g} to {high:.3g}")
    return values.to(probabilities)

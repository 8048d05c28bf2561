"""Terms of the mean field from images and parameters of the kernels."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..crf._variables import check_range
from ..crf.kernels import Normalization
from ..errors import InputError
from .filters import Filter, Filtering, grid_filter, make_filter, product, scales
from .steps import Term


class KernelValues(NamedTuple):
    """Parameters of a Gaussian kernel.

    Attributes
    ----------
    log_sxy : (1,) or (axes,)
    log_srgb : (1,) or (bands,), or None
        None for a spatial kernel.
    gains : (C,) or (C, C)
        Factor of each label's message, or a matrix [to][from].
    normalization : str
    """

    log_sxy: Tensor
    log_srgb: Tensor | None
    gains: Tensor
    normalization: Normalization


def make_term(image: Tensor, kernel: KernelValues, filtering: Filtering) -> tuple[Term, Tensor | None]:
    """Return a kernel's part of a step on images (B, bands, *shape), and its features if they need gradients."""
    shape = tuple(image.shape[2:])
    features = _features(image, kernel)
    if kernel.log_srgb is None and features.device.type == "cpu" and features.dtype == torch.float32:
        sigmas = _spread(kernel.log_sxy.detach().exp(), len(shape), "sxy").tolist()[::-1]
        found: Filter = grid_filter(shape, tuple(sigmas), len(image))
    else:
        found = make_filter(features, filtering, shape[-1])
    given = features if features.requires_grad else None
    mass = product(features.new_ones((*features.shape[:2], 1)), given, found)[..., 0]
    pre_scale, post_scale = scales(mass, kernel.normalization)
    return Term(found, pre_scale, post_scale, kernel.gains.to(features.dtype)), given


def check_values(logits: Tensor, image: Tensor, kernels: Sequence[KernelValues]) -> None:
    """Check logits (B, N, C) and images.

    Raises InputError for NaN, infinity, probabilities in place of logits, or an image that is scaled or normalized,
    where kernels expect 0 to 255.
    """
    low, high = (float(each) for each in torch.aminmax(logits.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("logits: expected finite numbers, got NaN or infinity")
    if low >= 0 and 0 < high <= 1 and bool(((logits.detach().sum(-1) - 1).abs() < 1e-3).all()):
        raise InputError("logits: expected scores, got probabilities, which sum to 1; pass those before the softmax")
    log_srgb = [kernel.log_srgb for kernel in kernels if kernel.log_srgb is not None]
    if log_srgb:
        check_image(image, min(math.exp(float(log.detach().min())) for log in log_srgb))


def check_image(image: Tensor, srgb: float) -> None:
    """Raise InputError for values that are not finite, or that the smallest `srgb` cannot tell apart."""
    if not image.is_floating_point() or image.requires_grad:
        return
    low, high = (float(each) for each in torch.aminmax(image))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("image: expected finite numbers, got NaN or infinity")
    if high <= 10 and not torch.equal(image, image.round()):  # whole numbers may be a dark photograph
        check_range(low, high, image.shape[1], srgb)


def learns_features(image: Tensor, kernels: Sequence[KernelValues]) -> bool:
    """Return whether gradients to standard deviations or to the image are needed."""
    logs = [log for kernel in kernels for log in (kernel.log_sxy, kernel.log_srgb) if log is not None]
    return image.requires_grad or any(log.requires_grad for log in logs)


def _features(image: Tensor, kernel: KernelValues) -> Tensor:
    """Return x, y and so on, then the bands, in standard deviations, (B, N, d)."""
    shape = tuple(image.shape[2:])
    sxy = _spread(kernel.log_sxy.to(image).exp(), len(shape), "sxy")
    axes = [torch.arange(side, device=image.device, dtype=image.dtype) for side in shape]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flip(-1).reshape(1, -1, len(shape)) / sxy
    places = places.expand(len(image), -1, -1)
    if kernel.log_srgb is None:
        return places
    srgb = _spread(kernel.log_srgb.to(image).exp(), image.shape[1], "srgb")
    return torch.cat([places, image.flatten(2).transpose(1, 2) / srgb], -1)


def _spread(values: Tensor, count: int, name: str) -> Tensor:
    if len(values) not in (1, count):
        raise InputError(f"{name}: expected one standard deviation or {count}, got {len(values)}")
    return values.expand(count)

"""The mean field as an operator of `torch.compile`'s graphs.

A graph cannot hold a filter. The operators therefore take the images and the kernels' parameters; the backward pass
builds the filters again, and reads the marginals that the forward pass stored.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from .. import _native
from ..crf.kernels import Normalization
from .filters import Filtering
from .steps import Term, gradient, record
from .terms import KernelValues, check_values, make_term


def mean_field_operator(
    logits: Tensor, image: Tensor, kernels: Sequence[KernelValues], filtering: Filtering, iterations: int
) -> Tensor:
    """Return the scores of the last step, (B, N, C), with gradients to logits (B, N, C) and gains.

    Parameters as of `steps.mean_field`, with the images (B, bands, *shape) and the kernels in place of the terms.
    """
    scores, _ = _forward(
        logits,
        image,
        [kernel.gains for kernel in kernels],
        [kernel.log_sxy for kernel in kernels],
        [kernel.log_srgb for kernel in kernels if kernel.log_srgb is not None],
        ",".join(
            ("spatial " if kernel.log_srgb is None else "bilateral ") + kernel.normalization for kernel in kernels
        ),
        filtering,
        iterations,
    )
    return scores


@torch.library.custom_op("atrous::mean_field", mutates_args=())
def _forward(
    logits: Tensor,
    image: Tensor,
    gains: Sequence[Tensor],
    log_sxy: Sequence[Tensor],
    log_srgb: Sequence[Tensor],
    kernels: str,
    filtering: str,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    values = _values(gains, log_sxy, log_srgb, kernels)
    check_values(logits, image, values)
    return record(logits, _terms(image.to(logits.dtype), values, filtering), iterations)


@_forward.register_fake
def _(
    logits: Tensor,
    image: Tensor,
    gains: Any,
    log_sxy: Any,
    log_srgb: Any,
    kernels: str,
    filtering: str,
    iterations: int,
) -> Any:
    batch, points, labels = logits.shape
    marginals = logits.new_empty((batch, iterations, points * _native.padded_width(labels)))
    return torch.empty_like(logits, memory_format=torch.contiguous_format), marginals


@torch.library.custom_op("atrous::mean_field_backward", mutates_args=())
def _backward(
    grad: Tensor,
    marginals: Tensor,
    image: Tensor,
    gains: Sequence[Tensor],
    log_sxy: Sequence[Tensor],
    log_srgb: Sequence[Tensor],
    kernels: str,
    filtering: str,
) -> list[Tensor]:
    terms = _terms(image.to(grad.dtype), _values(gains, log_sxy, log_srgb, kernels), filtering)
    at_logits, at_gains = gradient(marginals, terms, grad.contiguous())
    return [at_logits, *at_gains]


@_backward.register_fake
def _(grad: Tensor, marginals: Tensor, image: Tensor, gains: Any, *_: Any) -> Any:
    return [torch.empty_like(grad, memory_format=torch.contiguous_format), *(torch.empty_like(each) for each in gains)]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, image, gains, log_sxy, log_srgb, *ctx.settings, _ = inputs
    ctx.counts = len(gains), len(log_srgb)
    ctx.save_for_backward(output[1], image, *gains, *log_sxy, *log_srgb)


def _differentiate(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Any, ...]:
    marginals, image, *rest = ctx.saved_tensors
    kernels, bilateral = ctx.counts
    gains, log_sxy, log_srgb = rest[:kernels], rest[kernels : 2 * kernels], rest[2 * kernels :]
    at_logits, *at_gains = _backward(grad, marginals, image, gains, log_sxy, log_srgb, *ctx.settings)
    return at_logits, None, at_gains, [None] * kernels, [None] * bilateral, None, None, None


_forward.register_autograd(_differentiate, setup_context=_save)


def _values(
    gains: Sequence[Tensor], log_sxy: Sequence[Tensor], log_srgb: Sequence[Tensor], kernels: str
) -> list[KernelValues]:
    srgb = iter(log_srgb)
    found = []
    for described, gain, sxy in zip(kernels.split(","), gains, log_sxy, strict=True):
        kind, normalization = described.split()
        log = next(srgb) if kind == "bilateral" else None
        found.append(KernelValues(sxy, log, gain, cast(Normalization, normalization)))
    return found


def _terms(image: Tensor, kernels: Sequence[KernelValues], filtering: str) -> list[Term]:
    return [make_term(image, kernel, cast(Filtering, filtering))[0] for kernel in kernels]

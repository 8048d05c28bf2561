"""Mean-field steps with fixed filters, and their gradient."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _native
from .filters import Filter, Native, native_threads


class Term(NamedTuple):
    """Part of a step's scores: gains . (post_scale * K (pre_scale * Q)).

    Attributes
    ----------
    filter : Filter
        K of each image of the batch.
    pre_scale, post_scale : (B, N) or None for ones
    gains : (C,) or (C, C)
        Factor of each label's message, or a matrix [to][from].
    """

    filter: Filter
    pre_scale: Tensor | None
    post_scale: Tensor | None
    gains: Tensor


def mean_field(logits: Tensor, terms: Sequence[Term], iterations: int) -> Tensor:
    """Return the scores of the last step, (B, N, C), with gradients to the logits (B, N, C) and the gains.

    Native filters run in native code, all others in PyTorch's operations.
    """
    native = all(isinstance(term.filter, Native) for term in terms)
    steps = _NativeSteps if native and terms and logits.dtype == torch.float32 else _Steps
    fixed = [term._replace(gains=term.gains.detach()) for term in terms]
    scores: Tensor = steps.apply(logits, fixed, iterations, *(term.gains for term in terms))  # type: ignore[no-untyped-call]
    return scores


def scaled(values: Tensor, factor: Tensor | None) -> Tensor:
    """Return values (B, N, C) times a factor (B, N), or as they are."""
    return values if factor is None else values * factor[..., None]


def mixed(message: Tensor, gains: Tensor) -> Tensor:
    """Return the sum over labels b of gains[a][b] message[b] for each label a; gains (C,) are a diagonal matrix."""
    return message * gains if gains.ndim == 1 else message @ gains.T


class _Steps(torch.autograd.Function):
    """In PyTorch's operations, on any device; only Q of each step is stored."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, terms: list[Term], iterations: int, *gains: Tensor) -> Tensor:
        scores, marginals = logits, []
        for _ in range(iterations):
            marginals.append(scores.softmax(-1))
            scores = logits.clone()
            for term in terms:
                scores += mixed(
                    scaled(term.filter.apply(scaled(marginals[-1], term.pre_scale)), term.post_scale), term.gains
                )
        ctx.terms = terms
        ctx.save_for_backward(*marginals)
        return scores

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        at_gains = [torch.zeros_like(term.gains) for term in ctx.terms]
        at_logits = grad.clone()
        for q in reversed(ctx.saved_tensors):
            at_q = torch.zeros_like(q)
            for term, at_gain in zip(ctx.terms, at_gains, strict=True):
                # <K x, y> = <x, K^T y>: the messages themselves are not needed.
                back = scaled(term.filter.apply(scaled(grad, term.post_scale), transposed=True), term.pre_scale)
                at_q += mixed(back, term.gains.T if term.gains.ndim == 2 else term.gains)
                at_gain += torch.einsum("bnc,bnc->c" if at_gain.ndim == 1 else "bnt,bnf->tf", back, q)
            grad = q * (at_q - (q * at_q).sum(-1, keepdim=True))
            at_logits += grad
        return at_logits, None, None, *at_gains


class _NativeSteps(torch.autograd.Function):
    """In native code, image by image."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, terms: list[Term], iterations: int, *gains: Tensor) -> Tensor:
        batch, points, labels = logits.shape
        ctx.models = [_model(terms, image, points) for image in range(batch)]
        marginals = logits.new_empty((batch, iterations, points * _native.padded_width(labels)))
        scores = torch.empty_like(logits)
        for model, given, q, out in zip(ctx.models, logits, marginals, scores, strict=True):
            model.record(given.T.numpy(), q.numpy(), out.T.numpy(), native_threads())
        ctx.save_for_backward(marginals)
        ctx.gains = [term.gains for term in terms]
        return scores

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (marginals,) = ctx.saved_tensors
        at_logits = torch.empty_like(grad)
        at_gains = [torch.zeros_like(gains) for gains in ctx.gains]
        for model, q, given, out in zip(ctx.models, marginals, grad, at_logits, strict=True):
            found = [torch.empty_like(gains) for gains in ctx.gains]
            model.gradient(
                q.numpy(), given.T.numpy(), out.T.numpy(), [each.numpy() for each in found], native_threads()
            )
            for total, each in zip(at_gains, found, strict=True):
                total += each.T if each.ndim == 2 else each  # native matrices are [from][to]
        return at_logits, None, None, *at_gains


def _model(terms: Sequence[Term], image: int, points: int) -> _native.Model:
    model = _native.Model(points)
    for term in terms:
        assert isinstance(term.filter, Native)
        pre_scale = None if term.pre_scale is None else term.pre_scale[image].contiguous().numpy()
        post_scale = torch.ones(points) if term.post_scale is None else term.post_scale[image]
        gains = term.gains.float().T.contiguous() if term.gains.ndim == 2 else term.gains.float().contiguous()
        model.add(term.filter[image], pre_scale, post_scale.contiguous().numpy(), gains.numpy(), float16=False)
    return model

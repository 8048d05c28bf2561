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
    """Return the scores of the last step, (B, N, C), with gradients to the logits (B, N, C) and the gains."""
    fixed = [term._replace(gains=term.gains.detach()) for term in terms]
    scores: Tensor = _Steps.apply(logits, fixed, iterations, *(term.gains for term in terms))  # type: ignore[no-untyped-call]
    return scores


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, terms: list[Term], iterations: int, *gains: Tensor) -> Tensor:
        scores, marginals = record(logits, terms, iterations)
        ctx.terms = terms
        ctx.save_for_backward(marginals)
        return scores

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (marginals,) = ctx.saved_tensors
        at_logits, at_gains = gradient(marginals, ctx.terms, grad)
        return at_logits, None, None, *at_gains


def record(logits: Tensor, terms: Sequence[Term], iterations: int) -> tuple[Tensor, Tensor]:
    """Run the steps and store what their gradient needs: Q before each of them, but no messages.

    Native filters run in native code, image by image, all others in PyTorch's operations.

    Returns
    -------
    scores : (B, N, C)
        Of the last step.
    marginals : (B, iterations, N * W)
        For `gradient`; W is C, padded to whole vectors.
    """
    batch, points, labels = logits.shape
    width = _native.padded_width(labels)
    marginals = logits.new_empty((batch, iterations, points * width))
    if _is_native(terms, logits):
        scores = torch.empty_like(logits, memory_format=torch.contiguous_format)
        for image, (given, q, out) in enumerate(zip(logits, marginals, scores, strict=True)):
            model = _model(terms, image, points)
            model.record(given.T.numpy(), q.numpy(), out.T.numpy(), native_threads())
        return scores, marginals
    scores = logits.clone(memory_format=torch.contiguous_format)
    marginals.zero_()  # the padding too, so that equal inputs have equal outputs
    for q in marginals.view(batch, iterations, points, width)[..., :labels].unbind(1):
        q.copy_(scores.softmax(-1))
        scores.copy_(logits)
        for term in terms:
            scores += mixed(scaled(term.filter.apply(scaled(q, term.pre_scale)), term.post_scale), term.gains)
    return scores, marginals


def gradient(marginals: Tensor, terms: Sequence[Term], grad: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the gradients at the logits and at each term's gains, from the gradient at the scores (B, N, C)."""
    batch, points, labels = grad.shape
    at_gains = [torch.zeros_like(term.gains) for term in terms]
    if _is_native(terms, grad):
        at_logits = torch.empty_like(grad)
        for image, (q, given, out) in enumerate(zip(marginals, grad, at_logits, strict=True)):
            found = [torch.empty_like(each) for each in at_gains]
            arrays = [each.numpy() for each in found]
            model = _model(terms, image, points)
            model.gradient(q.numpy(), given.T.numpy(), out.T.numpy(), arrays, native_threads())
            for total, each in zip(at_gains, found, strict=True):
                total += each.T if each.ndim == 2 else each  # native matrices are [from][to]
        return at_logits, at_gains
    at_logits = grad.clone()
    steps = marginals.view(batch, marginals.shape[1], points, -1)[..., :labels].unbind(1)
    for q in reversed(steps):
        at_q = torch.zeros_like(grad)
        for term, at_gain in zip(terms, at_gains, strict=True):
            # <K x, y> = <x, K^T y>: the messages themselves are not needed.
            back = scaled(term.filter.apply(scaled(grad, term.post_scale), transposed=True), term.pre_scale)
            at_q += mixed(back, term.gains.T if term.gains.ndim == 2 else term.gains)
            at_gain += torch.einsum("bnc,bnc->c" if at_gain.ndim == 1 else "bnt,bnf->tf", back, q)
        grad = q * (at_q - (q * at_q).sum(-1, keepdim=True))
        at_logits += grad
    return at_logits, at_gains


def scaled(values: Tensor, factor: Tensor | None) -> Tensor:
    """Return values (B, N, C) times a factor (B, N), or as they are."""
    return values if factor is None else values * factor[..., None]


def mixed(message: Tensor, gains: Tensor) -> Tensor:
    """Return the sum over labels b of gains[a][b] message[b] for each label a; gains (C,) are a diagonal matrix."""
    return message * gains if gains.ndim == 1 else message @ gains.T


def _is_native(terms: Sequence[Term], logits: Tensor) -> bool:
    native = all(isinstance(term.filter, Native) for term in terms)
    return native and bool(terms) and logits.dtype == torch.float32


def _model(terms: Sequence[Term], image: int, points: int) -> _native.Model:
    model = _native.Model(points)
    for term in terms:
        assert isinstance(term.filter, Native)
        pre_scale = None if term.pre_scale is None else term.pre_scale[image].contiguous().numpy()
        post_scale = torch.ones(points) if term.post_scale is None else term.post_scale[image]
        gains = term.gains.float().T.contiguous() if term.gains.ndim == 2 else term.gains.float().contiguous()
        model.add(term.filter[image], pre_scale, post_scale.contiguous().numpy(), gains.numpy(), float16=False)
    return model

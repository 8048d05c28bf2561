"""Gaussian filters between the points of images, with gradients to values and features."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .. import _native
from .._resources import processors
from ..crf._lattice_stencil import MOST_FINE_FEATURES, fine_lattice
from ..crf._variables import MOST_FEATURES
from ..crf.kernels import Normalization, check_normalization
from ..errors import InputError
from .lattice import Lattice

Filtering = Literal["auto", "lattice", "fine", "exact"]

_MOST_EXACT = 2**16  # points of an image up to which a GPU computes the exact kernel
_CHUNK = 2**24  # pairs of points at a time, where the exact kernel is summed


class Filter(Protocol):
    """Kernel matrix K of each image of a batch.

    Attributes
    ----------
    symmetric : bool
        Whether K is symmetric.
    """

    @property
    def symmetric(self) -> bool:
        """Whether K is symmetric."""

    def apply(self, values: Tensor, *, transposed: bool = False) -> Tensor:
        """Return K, or its transpose, times values (B, N, C)."""


class Exact:
    """The Gaussian itself, as softmax attention, on any device: time N^2, memory N.

    With queries (f, 1) and keys (f, -|f|^2 / 2), softmax attention divides the sums of the Gaussian by its mass.

    Parameters
    ----------
    features : (B, N, d)
    """

    symmetric = True

    def __init__(self, features: Tensor) -> None:
        features = features - features.mean(1, keepdim=True)
        self._features = features
        ones = features.new_ones((*features.shape[:2], 1))
        self._queries = torch.cat([features, ones], -1)
        self._keys = torch.cat([features, -0.5 * (features * features).sum(-1, keepdim=True)], -1)
        self._mass = torch.stack([self._sums(each) for each in features])

    def apply(self, values: Tensor, *, transposed: bool = False) -> Tensor:
        """Return K times values."""
        width = -(-max(self._queries.shape[-1], values.shape[-1]) // 8) * 8

        def padded(rows: Tensor) -> Tensor:
            return F.pad(rows, (0, width - rows.shape[-1]))[:, None]

        means = F.scaled_dot_product_attention(padded(self._queries), padded(self._keys), padded(values), scale=1.0)
        return means[:, 0, :, : values.shape[-1]] * self._mass[..., None]

    @staticmethod
    def _sums(features: Tensor) -> Tensor:
        step = max(1, _CHUNK // len(features))
        return torch.cat(
            [
                torch.exp(-0.5 * (torch.cdist(rows, features, compute_mode="donot_use_mm_for_euclid_dist") ** 2)).sum(1)
                for rows in torch.split(features, step)
            ]
        )


class Native:
    """A native filter for each image, on the CPU, in float32."""

    def __init__(self, filters: Sequence[_native.Filter]) -> None:
        self._filters = filters
        self.symmetric = all(each.symmetric for each in filters)

    def __getitem__(self, image: int) -> _native.Filter:
        return self._filters[image]

    def apply(self, values: Tensor, *, transposed: bool = False) -> Tensor:
        """Return K, or its transpose, times values."""
        given = values.detach().float()
        out = torch.empty_like(given)
        for one, rows, filtered in zip(self._filters, given, out, strict=True):
            one.apply(rows.T.numpy(), filtered.T.numpy(), native_threads(), transposed)
        return out.to(values.dtype)


def make_filter(features: Tensor, filtering: Filtering, line: int = 0) -> Filter:
    """Return the filter of exp(-|f_i - f_j|^2 / 2).

    Parameters
    ----------
    features : (B, N, d)
        In standard deviations; gradients do not pass through the filter.
    filtering : str
        "lattice", "fine" (CPU, float32, up to 5 features), "exact", or "auto": "lattice", but on a GPU "exact" for up
        to 65,536 points.
    line : int
        Points along the last axis of the image.
    """
    features = features.detach()
    native = features.device.type == "cpu" and features.dtype == torch.float32
    fine = native and features.shape[-1] <= MOST_FINE_FEATURES
    if filtering == "auto":
        on_gpu = features.device.type != "cpu"
        filtering = "exact" if on_gpu and features.shape[1] <= _MOST_EXACT else "lattice"
    if filtering == "exact":
        return Exact(features)
    if filtering == "lattice" and not (native and features.shape[-1] <= MOST_FEATURES):
        return Lattice(features)
    if filtering not in ("fine", "lattice"):
        raise InputError(f"filtering: expected 'auto', 'lattice', 'fine' or 'exact', got {filtering!r}")
    if filtering == "fine" and not fine:
        raise InputError(
            f"filtering: 'fine' needs float32 on the CPU and at most {MOST_FINE_FEATURES} features, got"
            f" {features.dtype} on {features.device} and {features.shape[-1]} features; use 'lattice'"
        )
    build = fine_lattice if filtering == "fine" else _lattice
    rows = features.transpose(1, 2).contiguous().numpy()
    return Native([build(one, line, native_threads()) for one in rows])


def _lattice(features: NDArray[np.float32], line: int, threads: int) -> _native.Filter:
    try:
        return _native.lattice(features, threads, line)
    except OverflowError as error:
        raise InputError(f"features: {error}; divide by larger standard deviations") from None


def grid_filter(shape: tuple[int, ...], sigmas: tuple[float, ...], batch: int) -> Filter:
    """Return the exact filter of points on a grid, on the CPU; sigmas in the order of the axes."""
    return Native([_native.grid_gaussian(shape, sigmas)] * batch)


def product(values: Tensor, features: Tensor | None, filter: Filter) -> Tensor:
    """Return K times values (B, N, C), with gradients to values and, unless None, features (B, N, d).

    Gradients to features are moments of the filtered values (the derivative of the Gaussian, filtered by K), not
    derivatives of the lattice's weights, which point elsewhere. They are exact for the exact kernel.
    """
    found: Tensor = _Product.apply(values, features, filter)  # type: ignore[no-untyped-call]
    return found


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, features: Tensor | None, filter: Filter) -> Tensor:
        ctx.filter = filter
        ctx.save_for_backward(values, features)
        return filter.apply(values)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        values, features = ctx.saved_tensors
        filter: Filter = ctx.filter
        back = filter.apply(grad, transposed=True)
        if not ctx.needs_input_grad[1]:
            return back, None, None
        # sum_j dK_ij K_ij (f_j - f_i) and the same of the transpose, dK_ij = sum_c grad_ic values_jc. The features are
        # centered, because this is a difference of large numbers.
        f = features - features.mean(1, keepdim=True)
        total = torch.zeros_like(f)
        for left, right, transposed in ((grad, values, False), (values, grad, True)):
            filtered = back if transposed else filter.apply(right)
            total -= f * (left * filtered).sum(-1, keepdim=True)
            for axis in range(f.shape[-1]):
                moments = filter.apply(f[..., axis, None] * right, transposed=transposed)
                total[..., axis] += (left * moments).sum(-1)
        return back, total, None


def scales(mass: Tensor, normalization: Normalization) -> tuple[Tensor | None, Tensor | None]:
    """Return the factors before and after the product with K, (B, N); None for ones."""
    if normalization == "none":
        return None, None
    if normalization == "before":
        return 1 / mass, None
    if normalization == "after":
        return None, 1 / mass
    root = torch.rsqrt(mass)
    return root, root


def gaussian_filter(
    features: Tensor,
    values: Tensor,
    *,
    normalization: Normalization = "after",
    filtering: Filtering = "auto",
) -> Tensor:
    """Filter values by ``exp(-|f_i - f_j|^2 / 2)``, with gradients to values and features.

    Parameters
    ----------
    features : (B, N, d)
        Divided by their standard deviations.
    values : (B, N, C)
        On the same device.
    normalization : "none", "before", "after" or "symmetric"
        Division by the kernel's mass; "after" gives weighted means.
    filtering : "auto", "lattice", "fine" or "exact"

    Returns
    -------
    (B, N, C)

    Raises
    ------
    InputError
        If the shapes, types or devices do not fit.
    """
    check_normalization(normalization)
    if features.ndim != 3 or values.ndim != 3 or features.shape[:2] != values.shape[:2]:
        raise InputError(
            f"features, values: expected (B, N, d) and (B, N, C), got {tuple(features.shape)} and {tuple(values.shape)}"
        )
    if features.device != values.device:
        raise InputError(f"features, values: expected one device, got {features.device} and {values.device}")
    features, values = _wide(features), _wide(values)
    found = make_filter(features, filtering)
    given = features if features.requires_grad else None
    mass = product(torch.ones_like(values[..., :1]), given, found)[..., 0]
    pre_scale, post_scale = scales(mass, normalization)
    filtered = product(values if pre_scale is None else values * pre_scale[..., None], given, found)
    return filtered if post_scale is None else filtered * post_scale[..., None]


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def native_threads() -> int:
    """Return PyTorch's number of threads, bounded by the processors of a container."""
    return min(torch.get_num_threads(), processors())

"""Permutohedral lattice in PyTorch operations, on any device (Adams, Baek and Davis 2010).

The vertices, weights and blurs are those of the native lattice. A batch is one lattice: the image's number is part of a
vertex' key. Splatting and slicing are products with sparse matrices, so the result has the same bits each time.
"""

import math
import warnings

import torch
from torch import Tensor

from ..errors import InputError

_LARGEST_KEY = 2**62


class Lattice:
    """Gaussian kernel matrix K between the points of each image of a batch.

    Parameters
    ----------
    features : (B, N, d)
        Features in standard deviations.

    Attributes
    ----------
    vertices : int
        Number of vertices of the whole batch.

    Raises
    ------
    InputError
        If the features span too many standard deviations.
    """

    symmetric = False

    def __init__(self, features: Tensor) -> None:
        self.batch, self.points, self.dimensions = features.shape
        with torch.no_grad():
            elevated = _elevated(features)
            # Beyond, floats do not tell the points of a cell apart.
            if not bool(elevated.abs().max() * torch.finfo(features.dtype).eps < 0.1):
                raise self._too_wide()
            cells, ranks, self._weights = _simplices(elevated)
            self._build(cells, ranks)
        # Splatting, blurring and slicing have this effect on the mass of a unit.
        d = self.dimensions
        self._scale = (2 * math.pi / 1.5) ** (d / 2) * math.sqrt(d + 1) / 2 ** (d + 1)

    def apply(self, values: Tensor, *, transposed: bool = False) -> Tensor:
        """Return K times values, or its transpose times values, (B, N, C).

        The blurs along the axes do not commute where vertices are missing, so K is not symmetric; its transpose blurs
        in the opposite order.
        """
        x = self._splat @ values.reshape(self.batch * self.points, -1)
        for ahead, behind in reversed(self._neighbors) if transposed else self._neighbors:
            # The last row stands for missing neighbors.
            x = torch.cat([x, x.new_zeros(1, x.shape[1])])
            x = x[:-1] + 0.5 * (x[ahead] + x[behind])
        return (self._slice @ x).mul_(self._scale).reshape(values.shape)

    def _too_wide(self) -> InputError:
        return InputError(
            f"features: {self.dimensions} of them span too many standard deviations for a lattice, or are not finite;"
            " use fewer features, larger standard deviations or filtering='exact'"
        )

    def _build(self, cells: Tensor, ranks: Tensor) -> None:
        """Number the vertices and find their neighbors."""
        d, s, device = self.dimensions, self.dimensions + 1, cells.device
        low = cells.amin((0, 1)) - 2
        extent = (cells.amax((0, 1)) + 3 - low)[:d] + 2
        # A key is the remainder of the vertex, then the cells' numbers along the first d axes in mixed radix, then the
        # number of the image.
        if self.batch * s * math.prod(extent.tolist()) >= _LARGEST_KEY:
            raise self._too_wide()
        strides = s * torch.cat([extent.new_ones(1), extent.cumprod(0)[:-1]])
        image = s * extent.prod() * torch.arange(self.batch, device=device)
        base = ((cells - low)[..., :d] * strides).sum(-1) + image[:, None]
        # Vertex k of a point's simplex: remainder k, and the coordinates of the k largest ranks one cell back.
        steps = torch.cat([strides, strides.new_zeros(1)])  # the last coordinate follows from the others
        by_rank = torch.zeros_like(ranks).scatter(-1, d - ranks, steps.expand_as(ranks))
        keys = base[..., None] + torch.arange(s, device=device)
        keys[..., 1:] -= by_rank.cumsum(-1)[..., :-1]
        found, index = torch.unique(keys.reshape(-1), return_inverse=True)
        self.vertices = len(found)
        self._neighbors = []
        for axis in range(s):
            ahead = found + 1 - steps[axis]
            # After the last remainder comes 0, with all cells one step on.
            ahead = torch.where(found % s == d, ahead - s + strides.sum(), ahead)
            place = torch.searchsorted(found, ahead).clamp_(max=self.vertices - 1)
            place = torch.where(found[place] == ahead, place, self.vertices)
            behind = torch.full((self.vertices + 1,), self.vertices, device=device)
            behind[place] = torch.arange(self.vertices, device=device)
            self._neighbors.append((place, behind[:-1]))
        weights = self._weights.reshape(-1)
        points = torch.arange(self.batch * self.points, device=device).repeat_interleave(s)
        order = index.argsort(stable=True)
        count = torch.bincount(index, minlength=self.vertices)
        rows = torch.cat([count.new_zeros(1), count.cumsum(0)])
        size = self.vertices, self.batch * self.points
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR")
            self._splat = torch.sparse_csr_tensor(rows, points[order], weights[order], size, check_invariants=False)
            ends = torch.arange(0, s * size[1] + 1, s, device=device)
            self._slice = torch.sparse_csr_tensor(ends, index, weights, size[::-1], check_invariants=False)


def _elevated(features: Tensor) -> Tensor:
    """Return the points of the plane whose coordinates sum to 0, (B, N, d + 1), scaled for a blur of variance 1."""
    d = features.shape[-1]
    axis = torch.arange(1, d + 1, device=features.device, dtype=features.dtype)
    scaled = features * ((d + 1) * math.sqrt(2 / 3) / torch.sqrt(axis * (axis + 1)))
    tails = scaled.flip(-1).cumsum(-1).flip(-1)
    return torch.cat(
        [tails[..., :1], torch.cat([tails[..., 1:], torch.zeros_like(tails[..., :1])], -1) - axis * scaled], -1
    )


def _simplices(elevated: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return cells and ranks, int64, and barycentric weights of the simplices around points, each (B, N, d + 1)."""
    s = elevated.shape[-1]
    d = s - 1
    cells = torch.round(elevated / s)
    order = torch.argsort(elevated - cells * s, dim=-1, descending=True, stable=True)
    places = torch.arange(s, device=elevated.device).expand_as(order)
    ranks = torch.empty_like(order).scatter_(-1, order, places) + cells.sum(-1, keepdim=True).long()
    wrapped = (ranks < 0).long() - (ranks > d).long()
    ranks, cells = ranks + wrapped * s, cells + wrapped
    offset = (elevated - cells * s) / s
    in_order = torch.zeros_like(offset).scatter(-1, d - ranks, offset)
    first = in_order[..., :1] + 1 - in_order[..., -1:]
    return cells.long(), ranks, torch.cat([first, in_order[..., 1:] - in_order[..., :-1]], -1)

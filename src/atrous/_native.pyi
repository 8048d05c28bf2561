"""
C++ kernels of the fully connected CRF. The public interface is atrous.crf.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray


class LatticeTooLarge(Exception):
    pass

class Filter:
    """Gaussian kernel matrix K between points."""

    @property
    def points(self) -> int: ...

    @property
    def vertices(self) -> int | None:
        """Number of lattice vertices; None for a filter without a lattice."""

    @property
    def rows(self) -> int | None:
        """
        Vertices of a lattice, each counted in every tile of points that touches it; else None.
        """

    @property
    def symmetric(self) -> bool:
        """Whether K equals its transpose."""

    def apply(self, values: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu', writable=False)], out: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu')], threads: int, transposed: bool = False) -> None:
        """
        Write K, or its transpose, times each row of values (R, N) to out (R, N), with any strides.
        """

    def mass(self, out: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu')], threads: int) -> None:
        """Write the row sums of K to out (N,)."""

def lattice(features: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], threads: int, line: int = 0, offsets: Annotated[NDArray[numpy.int32], dict(shape=(None, None), order='C', device='cpu', writable=False)] | None = None, weights: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None = None, most_rows: int | None = None, tile_points: int = 3840, origin: bool = False) -> Filter:
    """
    Build a permutohedral lattice over features (d, N).

    Points lie in rows of `line`, like the pixels of an image; 0 means one row. Given offsets
    (K, d + 1) and weights (K,), a stencil replaces the blur: each vertex is the weighted sum of
    the vertices at the offsets and at their opposites; the zero offset is the vertex itself. Raises
    LatticeTooLarge beyond `most_rows`, see `Filter.rows`. d + 1 times `tile_points`, the most points in
    a tile, is 65,535 at most, `origin` a point more: the vertices around features of 0 take part in the
    blurs, as though a point lay there.
    """

def image_lattice(image: Annotated[NDArray[numpy.uint8], dict(shape=(None, None, None), order='C', device='cpu', writable=False)], sx: float, sy: float, srgb: Sequence[float], threads: int, most_rows: int | None = None) -> Filter:
    """
    Build a permutohedral lattice over (x, y, red, green, blue) of an image (H, W, 3).

    Raises LatticeTooLarge beyond `most_rows`, see `Filter.rows`.
    """

def brute_force(features: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], line: int = 0) -> Filter:
    """Build an exact Gaussian over features (d, N), in N^2 steps."""

def grid_gaussian(shape: Sequence[int], sigmas: Sequence[float], least: float = 2.9802322387695312e-08) -> Filter:
    """
    Build a separable Gaussian on a grid.

    Weights below `least` along an axis are dropped; all others are exact.
    """

class Model:
    """Fully connected CRF over N points."""

    def __init__(self, points: int) -> None: ...

    def add(self, filter: Filter, pre_scale: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)] | None, post_scale: Annotated[NDArray[numpy.float32], dict(shape=(None,), order='C', device='cpu', writable=False)], gains: Annotated[NDArray[numpy.float32], dict(order='C', device='cpu', writable=False)] | None, total: float | None = None, weight: float = float('inf'), float16: bool = True) -> None:
        """
        Add the pairwise term post_scale * gains (K (pre_scale * Q)).

        pre_scale and post_scale (N,) scale the points. gains (C,) or (C, C), the negated compatibility,
        scale the labels; None is 1. `total`: post_scale * (K pre_scale), if known and the same for all
        points. `weight`: maximum that the term can add to a score. `float16`: K may be computed in 16
        bits.
        """

    def potts_mass(self, threads: int) -> float:
        """
        Return the sum over all pairs of points of the scaled kernels of terms without gains.
        """

    def record(self, logits: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu', writable=False)], marginals: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], scores: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu')], threads: int) -> None:
        """
        Run mean-field inference with all labels in float32 and write scores (C, N).

        One step for each row of marginals, which receives the Q before the step as rows of C floats, padded
        to `padded_width`. logits and scores (C, N) may have any strides. Every term needs gains.
        """

    def gradient(self, marginals: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu')], at_scores: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu', writable=False)], at_logits: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu')], at_gains: Sequence[Annotated[NDArray[numpy.float32], dict(order='C', device='cpu')]], threads: int) -> None:
        """
        Write the gradients at the logits (C, N) and at each term's gains, given the gradient at the scores of `record`.
        """

    def infer(self, unary: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu', writable=False)], *, energies: bool, iterations: int, tolerance: float = 0.0, prune: float = 0.0, trace: bool = False, threads: int, out_is_zero: bool = False, in_place: bool = False, probabilities: Annotated[NDArray[numpy.float32], dict(shape=(None, None), device='cpu')] | None = None, labels: Annotated[NDArray[numpy.int32], dict(shape=(None,), order='C', device='cpu')] | None = None) -> Report:
        """
        Run mean-field inference and write probabilities (C, N) and labels (N,).

        unary (C, N) holds energies or probabilities; it and `probabilities` may have any strides.
        A label is pruned if its ratio to the most probable label is below `prune` at every point; large
        weights lower that threshold. `out_is_zero`: `probabilities` holds zeros, so pruned labels need
        no writes. `in_place`: unary and probabilities are the same planes, of memory that no file or
        process shares; the unary is freed as it is read. Raises ValueError for a unary with values out of range.
        """

class Report:
    """Statistics of an inference."""

    @property
    def steps(self) -> int:
        """Number of mean-field steps."""

    @property
    def active_labels(self) -> list[int]:
        """Label ids that were not pruned."""

    @property
    def energy(self) -> list[float]:
        """Expected energy before the first step and after each one, if traced."""

    @property
    def entropy(self) -> list[float]:
        """Entropy of Q before the first step and after each one, if traced."""

def padded_width(labels: int) -> int:
    """Return the floats in a row of marginals."""

def instruction_set() -> str:
    """Return the instruction set of the inner loops: baseline, v3 or v4."""

def choose_instruction_set(name: str) -> bool:
    """Select an instruction set; return False if the processor lacks it."""

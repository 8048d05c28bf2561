"""The CRF's kernels in C++; atrous.crf is their face."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

class Filter:
    """A Gaussian kernel matrix between points, ready to multiply."""

    @property
    def points(self) -> int: ...
    @property
    def vertices(self) -> int | None: ...
    def apply(self, values: NDArray[np.float32], out: NDArray[np.float32], threads: int) -> None: ...

class Model:
    """A fully connected CRF over a number of points."""

    def __init__(self, points: int) -> None: ...
    def add(
        self,
        filter: Filter,
        before: NDArray[np.float32] | None,
        after: NDArray[np.float32],
        gains: NDArray[np.float32] | None,
    ) -> None: ...
    def infer(
        self,
        unary: NDArray[np.float32],
        *,
        energies: bool,
        iterations: int,
        tolerance: float = 0.0,
        prune: float = 0.0,
        trace: bool = False,
        threads: int,
        probabilities: NDArray[np.float32] | None = None,
        labels: NDArray[np.int32] | None = None,
    ) -> Report:
        """Unary and probabilities are (C, N) with any strides; ValueError for a unary that cannot be used."""

class Report:
    """What happened in an inference."""

    @property
    def steps(self) -> int: ...
    @property
    def kept(self) -> list[int]: ...
    @property
    def energy(self) -> list[float]: ...
    @property
    def entropy(self) -> list[float]: ...

def lattice(features: NDArray[np.float32], threads: int) -> Filter: ...
def brute_force(features: NDArray[np.float32]) -> Filter: ...
def grid_gaussian(shape: Sequence[int], sigmas: Sequence[float]) -> Filter: ...
def instruction_set() -> str: ...
def choose_instruction_set(name: str) -> bool: ...

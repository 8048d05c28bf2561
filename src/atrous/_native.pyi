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
    def probabilities(
        self,
        unary: NDArray[np.float32],
        energies: bool,
        iterations: int,
        threads: int,
        out: NDArray[np.float32],
    ) -> None: ...
    def labels(
        self,
        unary: NDArray[np.float32],
        energies: bool,
        iterations: int,
        threads: int,
        out: NDArray[np.int32],
    ) -> None: ...

def lattice(features: NDArray[np.float32], threads: int) -> Filter: ...
def brute_force(features: NDArray[np.float32]) -> Filter: ...
def grid_gaussian(shape: Sequence[int], sigmas: Sequence[float]) -> Filter: ...
def instruction_set() -> str: ...
def choose_instruction_set(name: str) -> bool: ...

"""The CRF's kernels in C++; atrous.crf is their face."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

class LatticeTooLarge(Exception):
    """A lattice has more rows than `most_rows` allows."""

class Filter:
    """A Gaussian kernel matrix between points, ready to multiply."""

    @property
    def points(self) -> int: ...
    @property
    def vertices(self) -> int | None: ...
    @property
    def rows(self) -> int | None:
        """The vertices of a lattice, each counted in every tile of points that touches it."""

    def apply(self, values: NDArray[np.float32], out: NDArray[np.float32], threads: int) -> None: ...
    def mass(self, out: NDArray[np.float32], threads: int) -> None:
        """Write the sums of the matrix' rows, (N,)."""

class Model:
    """A fully connected CRF over a number of points."""

    def __init__(self, points: int) -> None: ...
    def add(
        self,
        filter: Filter,
        before: NDArray[np.float32] | None,
        after: NDArray[np.float32],
        gains: NDArray[np.float32] | None,
        total: float | None = None,
    ) -> None:
        """Total: after * (K before), where it is known and the same for all points."""

    def potts_mass(self, threads: int) -> float:
        """Return the sum over all pairs of points of the kernels without gains, with their factors."""

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
        zeroed: bool = False,
        consumed: bool = False,
        probabilities: NDArray[np.float32] | None = None,
        labels: NDArray[np.int32] | None = None,
    ) -> Report:
        """Unary and probabilities are (C, N) with any strides; ValueError for a unary that cannot be used.

        zeroed: probabilities holds zeros, which need not be written for labels that left.
        consumed: unary and probabilities are the same planes, of memory that no file or process shares; it is given
        back as it is read.
        """

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

def lattice(
    features: NDArray[np.float32],
    threads: int,
    line: int = 0,
    offsets: NDArray[np.int32] | None = None,
    weights: NDArray[np.float32] | None = None,
    most_rows: int | None = None,
) -> Filter:
    """Features are (d, N); points lie in lines of `line`, as an image's pixels do, or all in one.

    With offsets (K, d + 1) and weights (K,), a vertex takes from those at each offset and at its opposite, instead
    of blurring; the offset 0 is the vertex itself.

    Raises LatticeTooLarge beyond `most_rows`: see `Filter.rows`.
    """

def image_lattice(
    image: NDArray[np.uint8],
    sx: float,
    sy: float,
    srgb: Sequence[float],
    threads: int,
    most_rows: int | None = None,
) -> Filter:
    """The same for the features x, y, red, green and blue of an (H, W, 3) image."""

def brute_force(features: NDArray[np.float32], line: int = 0) -> Filter: ...
def grid_gaussian(shape: Sequence[int], sigmas: Sequence[float], least: float = ...) -> Filter:
    """Exact but for weights under `least` along an axis, which are left out."""

def instruction_set() -> str: ...
def choose_instruction_set(name: str) -> bool: ...

class SequentialModel:
    """A fully connected CRF that rounds as the reference implementation, pydensecrf's, does."""

    def __init__(self, points: int, labels: int) -> None: ...
    def add(
        self, features: NDArray[np.float32], before: bool, after: bool, gains: NDArray[np.float32], threads: int
    ) -> None: ...
    def infer(
        self, energies: NDArray[np.float32], iterations: int, threads: int, probabilities: NDArray[np.float32]
    ) -> None: ...
    def messages(self, marginals: NDArray[np.float32], threads: int, out: NDArray[np.float32]) -> None: ...

"""Inference tile by tile, for images whose lattices or marginals do not fit into memory."""

import itertools
import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from atrous._resources import is_integer
from atrous.crf.kernels import Bilateral, Gaussian, Kernel, Spatial
from atrous.crf.unary import Channels, Unary
from atrous.errors import InputError

# Default overlap in standard deviations of the widest kernel; its accuracy: benchmarks/tiles.py.
_OVERLAP = 3.0

Region: TypeAlias = tuple[slice, ...]


class _CRF(Protocol):
    def __call__(
        self, probabilities: ArrayLike | None, *, energies: ArrayLike | None, channels: Channels
    ) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Tile:
    """Tile of a grid, with and without its overlap.

    Attributes
    ----------
    core : tuple of slice
        Points that get their result from this tile; each point is in the core of one tile.
    seen : tuple of slice
        The core and the overlap around it, within the image.
    """

    core: Region
    seen: Region

    @property
    def inner(self) -> Region:
        """The slices of the core within `seen`."""
        return tuple(slice(c.start - s.start, c.stop - s.start) for c, s in zip(self.core, self.seen, strict=True))


class Tiling:
    """Tiles of an image, and the CRF of each.

    Parameters
    ----------
    image : (*shape, bands) array or None
    kernels : sequence of Kernel
    shape : tuple of int
        Of the variables.
    tile : int, or one for each axis
        Maximum size of a core. The cores along an axis differ by at most one point.
    overlap : int, one for each axis, or None
        Points beyond a core that its tile includes, on each side. None: three standard deviations of the widest
        kernel.
    build : callable (image, kernels) -> CRF
        Builds the CRF of a tile.

    Attributes
    ----------
    size : tuple of int
        Maximum size of a core.
    tiles : list of Tile

    Raises
    ------
    InputError
        If `tile` or `overlap` is not a positive integer for each axis of `shape`, or if `overlap` is None and a
        kernel is `Gaussian`, whose width in points is unknown.
    """

    def __init__(
        self,
        image: NDArray[Any] | None,
        kernels: Sequence[Kernel],
        shape: tuple[int, ...],
        *,
        tile: int | Sequence[int],
        overlap: int | Sequence[int] | None,
        build: Callable[[NDArray[Any] | None, Sequence[Kernel]], _CRF],
    ) -> None:
        self._image = image
        self._kernels = kernels
        self._build = build
        self.size = _per_axis("tile", tile, shape)
        reach = _default_overlap(kernels, shape) if overlap is None else _per_axis("overlap", overlap, shape)
        self.tiles = list(cut(shape, self.size, reach))

    def infer(self, unary: Unary, q: NDArray[Any] | None, labels: NDArray[Any] | None) -> None:
        """Write the marginals to `q` and the most probable labels to `labels`; None skips either.

        Parameters
        ----------
        unary : Unary
            Read tile by tile; may be memory-mapped, like `q` and `labels`.
        q : array of float, of the unary's shape
        labels : array of integers, of the unary's shape without the labels' axis
        """
        channels: Channels = "last" if unary.last else "first"
        for tile in self.tiles:
            crf = self._build(*self._part(tile.seen))
            for one in np.ndindex(unary.batch):
                part = unary.array[one][_with_labels(tile.seen, unary.last)]
                given = {"probabilities": None, "energies": None} | {unary.name: part}
                marginals = crf(**given, channels=channels)[_with_labels(tile.inner, unary.last)]
                if q is not None:
                    q[one][_with_labels(tile.core, unary.last)] = marginals
                if labels is not None:
                    labels[one][tile.core] = marginals.argmax(axis=-1 if unary.last else 0)

            for array in (self._image, unary.array, q, labels):
                _unload(array)

    def _part(self, seen: Region) -> tuple[NDArray[Any] | None, list[Kernel]]:
        image = None if self._image is None else self._image[seen]
        return image, [_part_of(kernel, image, seen) for kernel in self._kernels]


def read_tiling(
    image: NDArray[Any] | None,
    kernels: Sequence[Kernel],
    shape: tuple[int, ...],
    tile: int | Sequence[int] | None,
    overlap: int | Sequence[int] | None,
    build: Callable[[NDArray[Any] | None, Sequence[Kernel]], _CRF],
) -> Tiling | None:
    """Return the tiling, or None if `tile` is None; see `Tiling`."""
    if tile is None:
        if overlap is not None:
            raise InputError(f"overlap: expected None without tile, got {overlap!r}; pass tile= too")
        return None
    return Tiling(image, kernels, shape, tile=tile, overlap=overlap, build=build)


def check_out(out: object, shape: tuple[int, ...], least: DTypeLike) -> None:
    """Raise InputError unless `out` is a writable array of that shape whose dtype can hold values of dtype `least`."""
    least = np.dtype(least)
    if not isinstance(out, np.ndarray):
        raise InputError(f"out: expected an array {shape}, got {type(out).__name__}")
    fits = np.can_cast(least, out.dtype, "safe") and (out.dtype.kind == "f") == (least.kind == "f")
    if out.shape != shape or not fits:
        raise InputError(f"out: expected shape {shape} and {least} or wider, got {out.shape} {out.dtype}")
    if not out.flags.writeable:
        raise InputError("out: expected a writable array, got a read-only one")


def cut(shape: tuple[int, ...], sizes: tuple[int, ...], overlap: tuple[int, ...]) -> Iterator[Tile]:
    """Iterate over the fewest tiles whose cores have at most these sizes, row by row."""
    axes = []
    for length, size, beyond in zip(shape, sizes, overlap, strict=True):
        count = math.ceil(length / size)
        borders = [length * k // count for k in range(count + 1)]
        axes.append(
            [(slice(a, b), slice(max(a - beyond, 0), min(b + beyond, length))) for a, b in itertools.pairwise(borders)]
        )
    for parts in itertools.product(*axes):
        yield Tile(tuple(core for core, _ in parts), tuple(seen for _, seen in parts))


def _part_of(kernel: Kernel, image: NDArray[Any] | None, seen: Region) -> Kernel:
    """Return the kernel of a region, with the vertices of the whole image's lattice."""
    if isinstance(kernel, Spatial):
        return kernel
    options: dict[str, Any] = {"compatibility": kernel.compatibility, "normalization": kernel.normalization}
    if isinstance(kernel, Gaussian):
        return Gaussian(np.asarray(kernel.values)[seen], kernel.weight, **options)
    shape = tuple(s.stop - s.start for s in seen)
    features = kernel.features(image, shape, np.float32).reshape(-1, *shape)
    for row, (along, sigma) in enumerate(zip(reversed(seen), _widths(kernel, len(shape)), strict=True)):
        positions = (np.arange(along.start, along.stop) / sigma).astype(np.float32)
        features[row] = positions.reshape(-1, *(1,) * row)
    return Gaussian(np.moveaxis(features, 0, -1), kernel.weight, **options)


def _unload(array: NDArray[Any] | None) -> None:
    """Free the memory of a mapped file's pages; written values stay in the file."""
    while isinstance(array, np.ndarray):
        # Pages of a private copy exist in memory only.
        if isinstance(array, np.memmap) and array.mode == "c":
            return
        array = array.base
    if isinstance(array, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.madvise(mmap.MADV_DONTNEED)


def _with_labels(region: Region, last: bool) -> Region:
    return (*region, slice(None)) if last else (slice(None), *region)


def _widths(kernel: Spatial | Bilateral, axes: int) -> tuple[float, ...]:
    """Return the standard deviations along the axes, x first."""
    given = tuple(np.ravel(kernel.sxy).tolist())
    return given * axes if len(given) == 1 else given


def _default_overlap(kernels: Sequence[Kernel], shape: tuple[int, ...]) -> tuple[int, ...]:
    if any(isinstance(kernel, Gaussian) for kernel in kernels):
        raise InputError(
            "overlap: expected a number of points, because the width of Gaussian kernels is unknown, got None;"
            " pass about twice the distance over which a position feature grows by 1"
        )
    widest = [0.0] * len(shape)
    for kernel in kernels:
        if not isinstance(kernel, Gaussian):
            widest = [max(pair) for pair in zip(widest, _widths(kernel, len(shape))[::-1], strict=True)]
    return tuple(math.ceil(min(_OVERLAP * sigma, length)) for sigma, length in zip(widest, shape, strict=True))


def _per_axis(name: str, value: object, shape: tuple[int, ...]) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) else (value,)
    values = values * len(shape) if len(values) == 1 else values
    if len(values) != len(shape) or not all(is_integer(v) and v > 0 for v in values):
        raise InputError(
            f"{name}: expected a positive integer, or one for each of the {len(shape)} axes, got {value!r}"
        )
    return tuple(int(v) for v in values)

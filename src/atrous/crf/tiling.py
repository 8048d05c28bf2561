"""One tile after the other: images whose lattice, or whose marginals, do not fit into memory."""

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

# Standard deviations of the widest kernel that a tile sees beyond its border: see benchmarks/tiles.py.
_SIGHT = 3.0

Region: TypeAlias = tuple[slice, ...]


class _CRF(Protocol):
    def __call__(
        self, probabilities: ArrayLike | None, *, energies: ArrayLike | None, channels: Channels
    ) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Tile:
    """A part of the points, and what is computed to find their labels.

    Attributes
    ----------
    core : tuple of slice
        The points that the tile answers for; every point is in one tile's core.
    seen : tuple of slice
        The core and the overlap around it, within the image.
    """

    core: Region
    seen: Region

    @property
    def inner(self) -> Region:
        """The core, counted from where `seen` begins."""
        return tuple(slice(c.start - s.start, c.stop - s.start) for c, s in zip(self.core, self.seen, strict=True))


class Tiling:
    """How an image is cut, and the CRF of each part.

    Parameters
    ----------
    image : (*shape, bands) array or None
    kernels : sequence of Kernel
    shape : tuple of int
        Of the variables.
    tile : int, or one for each axis
        The largest size of a core. The cores along an axis are equally large, up to one point.
    overlap : int, one for each axis, or None
        Points that are seen beyond a core, to each side. None: three times the widest kernel's standard deviation.
    build : callable (image, kernels) -> CRF
        For the part of an image.

    Raises
    ------
    InputError
        If `tile` or `overlap` is no positive integer, or has another number of axes than `shape`; if there is
        no overlap and a `Gaussian` kernel leaves open how wide it is.
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
        sizes = _per_axis("tile", tile, shape)
        reach = _sight(kernels, shape) if overlap is None else _per_axis("overlap", overlap, shape)
        self.tiles = list(cut(shape, sizes, reach))

    def infer(self, unary: Unary, q: NDArray[Any] | None, labels: NDArray[Any] | None) -> None:
        """Write the marginals and the most probable labels, each unless None; arrays may lie on disk.

        Parameters
        ----------
        unary : Unary
            Read tile by tile.
        q : array of float, of the unary's shape
        labels : array of integers, of the unary's shape without the labels' axis
        """
        channels: Channels = "last" if unary.last else "first"
        for tile in self.tiles:
            crf = self._build(*self._part(tile.seen))
            for one in np.ndindex(unary.batch):
                part = unary.array[one][_with_labels(tile.seen, unary.last)]
                given = {"probabilities": None, "energies": None} | {unary.name: part}
                found = crf(**given, channels=channels)[_with_labels(tile.inner, unary.last)]
                if q is not None:
                    q[one][_with_labels(tile.core, unary.last)] = found
                if labels is not None:
                    labels[one][tile.core] = found.argmax(axis=-1 if unary.last else 0)

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
    """Return what the arguments ask for, None if nothing is to be cut; see `Tiling`."""
    if tile is None:
        if overlap is not None:
            raise InputError(f"overlap: expected None without tile, got {overlap!r}; give tile= too")
        return None
    return Tiling(image, kernels, shape, tile=tile, overlap=overlap, build=build)


def check_out(out: object, shape: tuple[int, ...], least: DTypeLike) -> None:
    """Raise InputError unless it is an array of that shape, to write to, whose type holds that of `least`."""
    least = np.dtype(least)
    if not isinstance(out, np.ndarray):
        raise InputError(f"out: expected an array {shape}, got {type(out).__name__}")
    fits = np.can_cast(least, out.dtype, "safe") and (out.dtype.kind == "f") == (least.kind == "f")
    if out.shape != shape or not fits:
        raise InputError(f"out: expected shape {shape} and {least} or wider, got {out.shape} {out.dtype}")
    if not out.flags.writeable:
        raise InputError("out: expected an array to write to, got one that is read-only")


def cut(shape: tuple[int, ...], sizes: tuple[int, ...], overlap: tuple[int, ...]) -> Iterator[Tile]:
    """Cut into the fewest tiles whose cores are of those sizes at most, row by row."""
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
    """Return the kernel of a part, whose lattice has its vertices where that of the whole image has them."""
    if isinstance(kernel, Spatial):
        return kernel
    options: dict[str, Any] = {"compatibility": kernel.compatibility, "normalization": kernel.normalization}
    if isinstance(kernel, Gaussian):
        return Gaussian(np.asarray(kernel.values)[seen], kernel.weight, **options)
    shape = tuple(s.stop - s.start for s in seen)
    features = kernel.features(image, shape, np.float32).reshape(-1, *shape)
    for row, (along, sigma) in enumerate(zip(reversed(seen), _widths(kernel, len(shape)), strict=True)):
        places = (np.arange(along.start, along.stop) / sigma).astype(np.float32)
        features[row] = places.reshape(-1, *(1,) * row)
    return Gaussian(np.moveaxis(features, 0, -1), kernel.weight, **options)


def _unload(array: NDArray[Any] | None) -> None:
    """Give back the memory that the pages of a mapped file take up; what was written stays with the file."""
    while isinstance(array, np.ndarray):
        # A private copy's pages are nowhere else.
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


def _sight(kernels: Sequence[Kernel], shape: tuple[int, ...]) -> tuple[int, ...]:
    if any(isinstance(kernel, Gaussian) for kernel in kernels):
        raise InputError(
            "overlap: expected a number of points, as Gaussian kernels do not tell how far they reach, got None;"
            " give about twice the distance at which a feature of place grows by 1"
        )
    widest = [0.0] * len(shape)
    for kernel in kernels:
        if not isinstance(kernel, Gaussian):
            widest = [max(pair) for pair in zip(widest, _widths(kernel, len(shape))[::-1], strict=True)]
    return tuple(math.ceil(min(_SIGHT * sigma, length)) for sigma, length in zip(widest, shape, strict=True))


def _per_axis(name: str, value: object, shape: tuple[int, ...]) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str) else (value,)
    values = values * len(shape) if len(values) == 1 else values
    if len(values) != len(shape) or not all(is_integer(v) and v > 0 for v in values):
        raise InputError(
            f"{name}: expected a positive integer, or one for each of the {len(shape)} axes, got {value!r}"
        )
    return tuple(int(v) for v in values)

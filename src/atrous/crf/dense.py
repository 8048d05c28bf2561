"""Mean field inference in a fully connected CRF."""

from __future__ import annotations  # `help` shows ArrayLike by its name, not all that it stands for

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous import _native
from atrous._resources import check_threads
from atrous.crf._array_interop import Tensor, TensorLike, like
from atrous.crf._lower import Filtering, build_model
from atrous.crf._variables import check_variables
from atrous.crf.kernels import Kernel, Normalization, check_compatibility, check_normalization
from atrous.crf.presets import resolve
from atrous.crf.reduced import Reduced, check_bound
from atrous.crf.result import Inference, check_fraction, check_iterations, label_type
from atrous.crf.tiling import Tiling, check_out, read_tiling
from atrous.crf.unary import CONFIDENCE, Channels, Unary, read_unary
from atrous.errors import InputError

# Labels whose ratio to the likeliest label stays below this everywhere are pruned.
NEGLIGIBLE = 0.05


class DenseCRF:
    """A fully connected CRF over the pixels of an image, or over points with any features.

    The energy is ``sum_i -log p_i(x_i) + sum_ij mu(x_i, x_j) k(i, j)`` with k a sum of Gaussian kernels
    (Chen et al. 2015, section 4; Kraehenbuehl and Koltun 2011). Mean field approximates its marginals Q:
    ``Q <- softmax(-unary)``, then `iterations` times
    ``Q <- softmax(-unary + sum_k weight_k * normalized(K_k Q))``.

    Setting up builds what depends on the image and the kernels only; the object then serves any number of
    probability maps, from several threads at once if need be. The same input gives the same bits for any
    number of threads, at any place of a batch.

    Parameters
    ----------
    image : (H, W, 3) array of uint8; (*shape, bands) or (H, W) array or tensor of numbers; or None
        A photo in RGB; any image, volume (D, H, W, bands) or grid with any bands, which come last; a gray
        image. A volume of one band may be (D, H, W) where a kernel's `sxy` has three entries, else it is
        (D, H, W, 1). None if all kernels are `Gaussian`.
    kernels : sequence of Spatial, Bilateral, Gaussian, or str
        Or the name of a released model's parameters: see `PRESETS`.
    iterations : int, default 10
        Mean field steps.
    normalization : {"after", "none", "before", "symmetric"}
        With a kernel's matrix K and ones 1: ``KQ / K1``, as in the authors' code; ``KQ``; ``K(Q / K1)``;
        ``K1^-1/2 K (K1^-1/2 Q)``. A kernel may have its own.
    compatibility : (C,) or (C, C) array_like, optional
        ``mu[a, b]`` for labels a and b; a vector v stands for ``mu[a, a] = -v[a]`` and 0 elsewhere; None is
        Potts, ``mu = [a != b]``. A kernel may have its own.
    filtering : {"lattice", "fine", "exact"}
        Multiply by K on the permutohedral lattice (approximate, fast, up to 16 features a point); on the same
        lattice with a weight for each two near vertices instead of blurs (up to 5 features a point; the table
        below); or one pair of points after the other (for small images: time grows with the square of their
        size). Spatial kernels are exact, but for wide ones on it; beside a lattice to 1e-5 of their sum, or
        from ``sxy=2.9`` on, where every second pixel does, to 1.2e-4 along each axis.
    tolerance : float, default 0
        Stop after a step that changes no probability by more; `infer` tells how many steps that took.
    prune : float, optional
        Prune labels whose probability, divided by that of the point's likeliest label, is below this bound at every
        point: before the first step and after each. They get probability 0. In an image, labels are also pruned in
        tiles of at most 64 x 60 pixels, where that ratio is below a twentieth of the bound and the label does not
        reach half the likeliest in a tile beside; a tile with one label takes no more time. Large weights lower the
        bounds. Pruning saves time in proportion to the labels; it can change a label that starts out so improbable
        and would rise later. Its effect is small for probabilities of any sharpness and for up to 150 labels: see
        docs/benchmarks.md. With `filtering="exact"`, a spatial kernel of more than 7 pixels or on a
        volume, or one normalized "before" or "symmetric", labels are pruned in the image as a whole only. Default:
        0.05, and 0 where a weight is negative, a compatibility is a matrix or rewards some labels more than others, or
        the normalization is "none": there a label may rise from nothing. 0 keeps all.
    threads : int, optional
        Default: as many as there are processors to run on.
    tile : int or (int, int), optional
        For images of many megapixels: a call goes from tile to tile, of this size in pixels at most (H, W),
        and builds for each what setting up would build for the whole. Memory grows with the tile and not with
        the image: the image, the unary term and `out` may be maps of files (``np.memmap``).
    overlap : int or (int, int), optional
        Pixels beyond its border that a tile sees. Default: three times the largest `sxy`. See the notes.
    max_vertices : int, optional
        For images that may be noise: the most vertices of a kernel's lattice, each counted in every tile of at most
        64 x 60 pixels that touches it. Smooth images have 0.1 a pixel, textured ones 1, noise up to 6; each takes
        30 to 50 bytes in an inference. The CRF of an image with more is computed on means of 2 x 2 pixels (of 4 x 4,
        and so on), and its marginals are interpolated: see `reduced`. Default: no bound.
    max_points : int, optional
        Maximum number of points, such as pixels. A larger image is reduced in the same way.

    Raises
    ------
    InputError
        If an argument cannot be used; the message says which and why.
    MemoryError
        If there is too little; nothing is left behind.

    Notes
    -----
    Mean difference of Q to the exact mean field, and labels that differ, on three 64 x 64 parts of photographs
    with 5 labels, `Spatial(3, 3)` and `Bilateral(4, 49, 5)` (benchmarks/accuracy.py), and what they cost at
    375 x 500 with 21 labels, none pruned, on two cores of a Xeon at 2.5 GHz:

    | filtering  | cat            | astronaut      | photographer   | set-up, ms | a step, ms |
    |------------|----------------|----------------|----------------|------------|------------|
    | pydensecrf | 3.0e-3, 0.84 % | 2.3e-3, 0.56 % | 1.3e-3, 0.35 % | --         | --         |
    | "lattice"  | 2.6e-3, 0.67 % | 1.9e-3, 0.37 % | 1.3e-3, 0.38 % | 16 to 33   | 25 to 32   |
    | "fine"     | 1.0e-3, 0.24 % | 0.8e-3, 0.20 % | 0.5e-3, 0.12 % | 47 to 407  | 32 to 57   |

    Where `normalization` is "none", "fine" is nearer by more (0.6 % of the labels differ, against 2 to 6 %): its K
    does not lose mass where points are sparse. It takes about 100 MiB more at 375 x 500.

    Tiles have the vertices of the whole image's lattice, so all that differs is what lies beyond the overlap.
    It reaches further than a kernel does, from pixel to pixel in ten steps, so that places which are nearly
    undecided tip over. Labels that differ from those without tiles on three photographs of 4 megapixels, in
    tiles of 1024, sxy 49 and 121 (benchmarks/tiles.py): with an overlap of one standard deviation 0.02 to
    0.25 %, of two 0.01 to 0.06 %, of three 0.004 to 0.008 % (0.06 % on one cut otherwise). With three, mean |dQ|
    is 1e-5, the largest, at a few pixels, up to 0.7, and within 8 pixels of a cut 0 to 0.1 % of the labels
    differ. 16 megapixels with 21 labels, files of float16 in and out, sxy 49, took 44 s and 1.5 GiB at the most on
    the same machine; 100 megapixels, labels into a file, 193 s and 2.1 GiB.

    Examples
    --------
    >>> import numpy as np
    >>> from atrous.crf import DenseCRF, Spatial
    >>> image = np.zeros((2, 3, 3), np.uint8)
    >>> crf = DenseCRF(image, [Spatial(weight=3, sxy=3)])
    >>> probabilities = np.full((2, 2, 3), [[[0.6]], [[0.4]]], np.float32)
    >>> crf.labels(probabilities)
    array([[0, 0, 0],
           [0, 0, 0]], dtype=uint8)
    """

    def __init__(
        self,
        image: ArrayLike | None,
        kernels: str | Sequence[Kernel],
        *,
        iterations: int = 10,
        normalization: Normalization = "after",
        compatibility: ArrayLike | None = None,
        filtering: Filtering = "lattice",
        tolerance: float = 0.0,
        prune: float | None = None,
        threads: int | None = None,
        tile: int | Sequence[int] | None = None,
        overlap: int | Sequence[int] | None = None,
        max_vertices: int | None = None,
        max_points: int | None = None,
    ) -> None:
        self._parts: Tiling | Reduced | None = None
        self.kernels = resolve(kernels)
        self.iterations = check_iterations(iterations)
        self.tolerance = check_fraction("tolerance", tolerance)
        check_normalization(normalization)
        if filtering not in get_args(Filtering):
            raise InputError(f"filtering: expected 'lattice', 'fine' or 'exact', got {filtering!r}")
        self.threads = check_threads(threads)
        array, self.shape = check_variables(image, self.kernels)
        self._compatibilities = [
            check_compatibility(compatibility if kernel.compatibility is None else kernel.compatibility)
            for kernel in self.kernels
        ]
        self.prune = _check_prune(prune, self.kernels, self._compatibilities, normalization)
        build = partial(
            DenseCRF,
            iterations=iterations,
            normalization=normalization,
            compatibility=compatibility,
            filtering=filtering,
            tolerance=tolerance,
            prune=prune,
            threads=threads,
        )
        self._parts = read_tiling(array, self.kernels, self.shape, tile, overlap, build)
        tiled = self._parts is not None
        vertices = check_bound("max_vertices", max_vertices, tiled=tiled)
        points = check_bound("max_points", max_points, tiled=tiled)
        if tiled:
            return
        model = None
        if points is None or np.prod(self.shape) <= points:
            model = build_model(
                self.kernels,
                self._compatibilities,
                array,
                self.shape,
                normalization=normalization,
                filtering=filtering,
                threads=self.threads,
                max_vertices=vertices,
            )
        if model is None:
            build = partial(build, max_vertices=vertices, max_points=points)
            self._parts = Reduced(array, self.kernels, self.shape, normalization, build)
        else:
            self._model = model

    def __repr__(self) -> str:
        kernels = ", ".join(map(repr, self.kernels))
        parts = ", in tiles" if isinstance(self._parts, Tiling) else ""
        reduced = f", on means of {self.reduction} x {self.reduction}" if self.reduced is not None else ""
        return f"<DenseCRF {self.shape}: {kernels}, iterations={self.iterations}{parts}{reduced}>"

    @property
    def iterations(self) -> int:
        """Mean field steps of the next calls."""
        return self._iterations

    @iterations.setter
    def iterations(self, iterations: int) -> None:
        self._iterations = iterations
        if isinstance(self._parts, Reduced):
            self._parts.crf.iterations = iterations

    @property
    def reduced(self) -> DenseCRF | None:
        """The CRF of the image at half its size if there are more vertices than `max_vertices`, else None.

        It may be reduced in turn. Unary terms of its `shape` save this one the averaging; `enlarged` interpolates
        its marginals.
        """
        return self._parts.crf if isinstance(self._parts, Reduced) else None

    @property
    def reduction(self) -> int:
        """The side in points of the blocks whose means are what is inferred on: 1, or 2, 4, ... if it is reduced."""
        return 1 if self.reduced is None else 2 * self.reduced.reduction

    def enlarged(self, marginals: NDArray[np.float32]) -> NDArray[np.float32]:
        """Interpolate marginals (C, *shape) of the reduced CRF, if there is one, to this one's shape."""
        return self._parts.enlarged(marginals) if isinstance(self._parts, Reduced) else marginals

    @overload
    def __call__(self, probabilities: Tensor, *, channels: Channels | None = None) -> Tensor: ...

    @overload
    def __call__(self, *, energies: Tensor, channels: Channels | None = None) -> Tensor: ...

    @overload
    def __call__(self, *, labels: Tensor, confidence: float = CONFIDENCE) -> Tensor: ...

    @overload
    def __call__(
        self,
        probabilities: ArrayLike | None = None,
        *,
        energies: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        confidence: float = CONFIDENCE,
        channels: Channels | None = None,
        out: NDArray[np.floating[Any]] | None = None,
    ) -> NDArray[np.float32]: ...

    def __call__(
        self,
        probabilities: ArrayLike | TensorLike | None = None,
        *,
        energies: ArrayLike | TensorLike | None = None,
        labels: ArrayLike | TensorLike | None = None,
        confidence: float = CONFIDENCE,
        channels: Channels | None = None,
        out: NDArray[np.floating[Any]] | None = None,
    ) -> Any:
        """Return the marginals Q.

        Parameters
        ----------
        probabilities : (C, *shape) or (*shape, C) array or tensor of float, or a batch (B, ...) of these
            Of each label at each pixel, 0 to 1. PyTorch tensors must be on the CPU and without gradients.
        energies : the same
            Instead of probabilities: the unary term, lower for a likelier label, such as ``-log p`` or a
            network's negative scores.
        labels : (*shape) array or tensor of int, or a batch (B, ...) of these
            Instead of probabilities: the label of each pixel, 255 where it is unknown.
        confidence : float, default 0.7
            Probability of these labels; the other labels up to the largest one share the rest.
        channels : "first" or "last", optional
            Where the labels are. Needed only if both would fit and they are last.
        out : array of float, of the input's shape, optional
            Where to write the marginals; it is returned.

        Returns
        -------
        array of float32, of the input's shape
            A tensor for a PyTorch tensor, of its own floating type.

        Raises
        ------
        InputError
            If the shape does not fit or a value cannot be used (NaN, infinite, a negative probability).
        """
        unary = self._read(probabilities, energies, channels, labels, confidence)
        if out is not None:
            check_out(out, unary.array.shape, np.float16)
        if self._parts is not None:
            q = np.empty(unary.array.shape, np.float32) if out is None else out
            self._parts.infer(unary, q, None)
        else:
            q, zeroed = unary.marginals(out)
            for planes, places in zip(unary.planes(unary.array), unary.planes(q), strict=True):
                self._infer(unary, planes, probabilities=places, zeroed=zeroed)
        if out is None:
            return like(unary.given, q)
        if q is not out:
            out[...] = q
        return out

    @overload
    def labels(self, probabilities: Tensor, *, channels: Channels | None = None) -> Tensor: ...

    @overload
    def labels(self, *, energies: Tensor, channels: Channels | None = None) -> Tensor: ...

    @overload
    def labels(self, *, labels: Tensor, confidence: float = CONFIDENCE) -> Tensor: ...

    @overload
    def labels(
        self,
        probabilities: ArrayLike | None = None,
        *,
        energies: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        confidence: float = CONFIDENCE,
        channels: Channels | None = None,
        out: NDArray[np.integer[Any]] | None = None,
    ) -> NDArray[np.integer[Any]]: ...

    def labels(
        self,
        probabilities: ArrayLike | TensorLike | None = None,
        *,
        energies: ArrayLike | TensorLike | None = None,
        labels: ArrayLike | TensorLike | None = None,
        confidence: float = CONFIDENCE,
        channels: Channels | None = None,
        out: NDArray[np.integer[Any]] | None = None,
    ) -> Any:
        """Return each pixel's most probable label under Q.

        Parameters
        ----------
        probabilities, energies, labels, confidence, channels
            As for a call.
        out : array of integers, optional
            Where to write the labels; it is returned.

        Returns
        -------
        array of `shape`, or of (B, *shape), uint8 (uint16, int32 where there are more labels)
            For a PyTorch tensor one of uint8 or int32.
        """
        unary = self._read(probabilities, energies, channels, labels, confidence)
        shape, kind = (*unary.batch, *self.shape), label_type(unary.labels)
        if out is not None:
            check_out(out, shape, kind)
        found = np.empty(shape, kind) if out is None else out
        if self._parts is not None:
            self._parts.infer(unary, None, found)
        else:
            for planes, place in zip(unary.planes(unary.array), found if unary.batch else [found], strict=True):
                chosen = np.empty(planes.shape[1], np.int32)
                self._infer(unary, planes, labels=chosen)
                place[...] = chosen.reshape(self.shape)
        return like(unary.given, found) if out is None else out

    def infer(
        self,
        probabilities: ArrayLike | None = None,
        *,
        energies: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        confidence: float = CONFIDENCE,
        channels: Channels | None = None,
        trace: bool = False,
        out: NDArray[np.float32] | None = None,
    ) -> Inference:
        """Return marginals and labels, and how they were found.

        Parameters
        ----------
        probabilities, energies, labels, confidence, channels
            As for a call; no batch.
        trace : bool
            Compute energy and divergence before and after each step, which takes the time of a step more
            and some for each; twice the time where there are two labels. Of the reduced image, if there is one.
        out : array of float32, of the input's shape, optional
            Where to write the marginals. If it is the input itself, the memory of both is needed once.

        Returns
        -------
        Inference
        """
        if isinstance(self._parts, Tiling):
            raise InputError("tile: expected None to infer with a report, got tiles; call the CRF or its labels()")
        unary = self._read(probabilities, energies, channels, labels, confidence)
        if unary.batch:
            raise InputError(f"{unary.name}: expected one unary term, got a batch {unary.array.shape}; infer each")
        if out is not None:
            check_out(out, unary.array.shape, np.float32)
        if isinstance(self._parts, Reduced):
            found = self._parts.report(unary, trace=trace, out=out)
            return replace(
                found, probabilities=like(unary.given, found.probabilities), labels=like(unary.given, found.labels)
            )
        (planes,) = unary.planes(unary.array)
        chosen = np.empty(planes.shape[1], np.int32)
        q, zeroed = unary.marginals(out)
        (places,) = unary.planes(q)
        report = self._infer(
            unary,
            planes,
            probabilities=places,
            zeroed=zeroed,
            consumed=unary.gives_way_to(q),
            labels=chosen,
            trace=trace,
        )
        if out is not None and q is not out:
            out[...] = q
        energy = np.array(report.energy) + self._potts_energy if trace else None
        return Inference(
            probabilities=like(unary.given, q if out is None else out),
            labels=like(unary.given, chosen.astype(label_type(unary.labels)).reshape(self.shape)),
            steps=report.steps,
            kept=np.array(report.kept, np.intp),
            energy=energy,
            divergence=None if energy is None else energy - np.array(report.entropy),
        )

    @cached_property
    def _potts_energy(self) -> float:
        # mu = [a != b] is 1 less the identity, and the native code rewards agreement only.
        return 0.5 * self._model.potts_mass(self.threads)

    def _read(
        self, probabilities: Any, energies: Any, channels: Channels | None, labels: Any, confidence: float
    ) -> Unary:
        unary = read_unary(probabilities, energies, self.shape, channels, labels, confidence)
        for mu in self._compatibilities:
            if mu is not None and mu.shape[0] != unary.labels:
                check_compatibility(mu, labels=unary.labels)
        return unary

    def _infer(self, unary: Unary, planes: NDArray[Any], **wanted: Any) -> _native.Report:
        readable = unary.readable(planes)
        try:
            return self._model.infer(
                readable,
                energies=unary.name == "energies",
                iterations=self.iterations,
                tolerance=self.tolerance,
                prune=self.prune,
                threads=self.threads,
                **wanted,
            )
        except ValueError:
            unary.check_values(readable)
            raise


def _check_prune(
    prune: float | None,
    kernels: Sequence[Kernel],
    compatibilities: Sequence[NDArray[np.float64] | None],
    normalization: Normalization,
) -> float:
    terms = list(zip(kernels, compatibilities, strict=True))
    attractive = all(
        kernel.weight >= 0 if mu is None else mu.ndim == 1 and bool((mu * kernel.weight >= 0).all())
        for kernel, mu in terms
    )
    alike = all(mu is None or (mu == mu.flat[0]).all() for _, mu in terms)
    averaged = all((kernel.normalization or normalization) != "none" for kernel in kernels)
    if prune is None:
        prune = NEGLIGIBLE if attractive and alike and averaged else 0.0
    share = check_fraction("prune", prune)
    if not kernels:
        return 0.0  # no step changes anything, so there is no time to save
    if share > 0 and not attractive:
        raise InputError(
            f"prune: expected 0 with a negative weight, negative gains or a compatibility matrix, got {prune!r};"
            " labels that are improbable everywhere may rise there"
        )
    return share

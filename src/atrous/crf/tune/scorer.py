"""Scores of many kernel settings on labeled images, with the work shared that does not depend on the setting."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous import _native
from atrous._resources import cache_bytes, check_threads
from atrous.crf._lower import Term, build_term
from atrous.crf.kernels import Bilateral, Normalization, Spatial, check_normalization
from atrous.crf.unary import LARGEST_PROBABILITY, is_hard
from atrous.errors import InputError
from atrous.labelmap.voc_colormap import VOID

# Memory that the images in work may take together.
_WORKING_MEMORY = 4 * 2**30

# Filters of the spatial kernel that are kept, one for each size of image.
_KEPT_SIZES = 64


class LabeledImage(NamedTuple):
    """An image, what a network says of it, and what is true.

    Attributes
    ----------
    image : (H, W, 3) array of uint8
        RGB.
    probabilities : (C, H, W) array of float
        Of each label at each pixel; any precision, float16 takes the least memory.
    mask : (H, W) array of int
        True label ids, 0 to C - 1; 255 is void and not scored.
    name : str
        For errors.
    """

    image: ArrayLike
    probabilities: ArrayLike
    mask: ArrayLike
    name: str = ""


Samples: TypeAlias = Sequence[LabeledImage | tuple[ArrayLike, ArrayLike, ArrayLike]]


class TrialScorer:
    """Mean IoU of labeled images after the CRF, for one pair of kernels after the other.

    Trials that differ in the bilateral weight alone share its lattice and normalization, all trials those of
    the spatial kernel. Several images are in work at once, one a thread, as long as they fit the memory; with
    few or large images each gets several threads. The result is the same for any number of threads.

    Parameters
    ----------
    samples : sequence of (image, probabilities, mask), or of LabeledImage
        Read again for each pair of standard deviations, from several threads, so `__getitem__` may load files.
    spatial : Spatial
    iterations : int
    normalization : str
    prune : float
        As of `DenseCRF`.
    threads : int or None

    Attributes
    ----------
    classes : int
    baseline : float
        Mean IoU without the CRF.
    baseline_counts : (N, 2, C) int64
        Hits and unions of each image and label without the CRF.
    sha256 : str
        Of the samples' contents.

    Raises
    ------
    InputError
        If a sample cannot be used or an argument is out of range; all samples are looked at before the first
        trial.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        spatial: Spatial,
        iterations: int,
        normalization: Normalization,
        prune: float,
        threads: int | None,
        hashed: bool = True,
        done: Callable[[int], None] = lambda n: None,
    ) -> None:
        check_normalization(normalization)
        threads = check_threads(threads)
        self._samples, self._spatial = samples, spatial
        self._iterations, self._normalization, self._prune = iterations, normalization, prune
        self.baseline_counts, self.sha256, largest = self._look_through(hashed, done)
        self.classes = self.baseline_counts.shape[2]
        self.baseline = mean_iou(self.baseline_counts.sum(axis=0))
        # Planes in single precision, and what mean field keeps of the same size.
        fitting = max(1, cache_bytes(_WORKING_MEMORY) // (4 * 4 * self.classes * largest))
        self._workers = min(threads, len(samples), fitting)
        self._threads = threads // self._workers
        self._spatial_term = lru_cache(_KEPT_SIZES)(self._build_spatial)

    def mean_ious(
        self, sxy: float, srgb: float, weights: Sequence[float], done: Callable[[int], None] = lambda n: None
    ) -> list[float]:
        """Return the mean IoU over all images and classes that occur, for each bilateral weight.

        Parameters
        ----------
        sxy, srgb : float
            Standard deviations of the bilateral kernel.
        weights : sequence of float
        done : callable
            Told the number of images that are done, after each.
        """
        totals = np.zeros((len(weights), 2, self.classes), np.int64)
        for n, counts in enumerate(self._scored(sxy, srgb, weights), start=1):
            totals += counts
            done(n)
        return [mean_iou(counts) for counts in totals]

    def counts(self, weight: float, sxy: float, srgb: float) -> NDArray[np.int64]:
        """Return the hits and unions of each image and label with one bilateral kernel, (N, 2, C)."""
        return np.concatenate(list(self._scored(sxy, srgb, [weight])))

    def _scored(self, sxy: float, srgb: float, weights: Sequence[float]) -> Iterator[NDArray[np.int64]]:
        """Yield the hits and unions of each image, (weights, 2, C)."""

        def score(index: int) -> NDArray[np.int64]:
            return self._score(index, sxy, srgb, weights)

        pool = ThreadPoolExecutor(self._workers)
        try:
            yield from pool.map(score, range(len(self._samples)))
        finally:
            # After Ctrl-C, wait only for images that are being scored.
            pool.shutdown(cancel_futures=True)

    def _score(self, index: int, sxy: float, srgb: float, weights: Sequence[float]) -> NDArray[np.int64]:
        """Hits and unions of each label, (weights, 2, C)."""
        image, probabilities, mask, name = as_labeled(self._samples[index], index)
        image, truth = np.asarray(image), np.asarray(mask).ravel()
        shape = image.shape[:2]
        planes = np.asarray(probabilities, np.float32).reshape(self.classes, -1)
        with naming(name):
            bilateral = self._term(Bilateral(weight=1, sxy=sxy, srgb=srgb), image, shape)
        spatial = self._spatial_term(shape)
        labels = np.empty(truth.size, np.int32)
        counts = np.empty((len(weights), 2, self.classes), np.int64)
        for out, weight in zip(counts, weights, strict=True):
            model = _native.Model(truth.size)
            spatial.add_to(model)
            bilateral.add_to(model, weight)
            model.infer(
                planes,
                energies=False,
                iterations=self._iterations,
                prune=self._prune,
                threads=self._threads,
                labels=labels,
            )
            out[:] = hits_and_unions(truth, labels, self.classes)
        return counts

    def _build_spatial(self, shape: tuple[int, int]) -> Term:
        return self._term(self._spatial, None, shape)

    def _term(self, kernel: Spatial | Bilateral, image: NDArray[np.uint8] | None, shape: tuple[int, int]) -> Term:
        return build_term(
            kernel,
            None,
            image,
            shape,
            normalization=self._normalization,
            filtering="lattice",
            threads=self._threads,
        )

    def _look_through(self, hashed: bool, done: Callable[[int], None]) -> tuple[NDArray[np.int64], str, int]:
        """Check all samples; return the counts without the CRF, the hash and the largest number of pixels."""
        if not len(self._samples):
            raise InputError("samples: expected one (image, probabilities, mask) at least, got none")
        digest = hashlib.sha256()
        classes, largest = 0, 0
        seen: set[int] = set()
        counts: list[NDArray[np.int64]] = []
        for index in range(len(self._samples)):
            sample = as_labeled(self._samples[index], index)
            with naming(sample.name):
                planes, truth = check_sample(sample, classes)
            classes = len(planes)
            largest = max(largest, truth.size)
            seen.update(np.unique(truth).tolist())
            counts.append(hits_and_unions(truth, planes.argmax(axis=0), classes))
            if hashed:
                for array in sample[:3]:
                    values = np.ascontiguousarray(array)
                    digest.update(f"{values.shape}{values.dtype.str}".encode())
                    digest.update(values.data)
            done(index + 1)
        stacked = np.stack(counts)
        if not stacked[:, 1].any():
            raise InputError("mask: expected labeled pixels, got void (255) at every pixel of every sample")
        if classes == 2 and seen == {0, VOID}:
            raise InputError("mask: expected ids 0 and 1, got 0 and 255 (void) alone; pass mask == 255 for such masks")
        return stacked, digest.hexdigest(), largest


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put a sample's name before the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def as_labeled(sample: Any, index: int) -> LabeledImage:
    """Return a sample with its name, `sample 3` for the fourth if it has none."""
    if not isinstance(sample, (tuple, list)) or not 3 <= len(sample) <= 4:
        raise InputError(f"sample {index}: expected (image, probabilities, mask), got {type(sample).__name__}")
    labeled = LabeledImage(*sample)
    return labeled if labeled.name else labeled._replace(name=f"sample {index}")


def check_sample(sample: LabeledImage, classes: int) -> tuple[NDArray[np.floating[Any]], NDArray[np.integer[Any]]]:
    """Return (C, N) probabilities and the mask's N ids, or raise InputError; C is `classes`, if that is not 0."""
    image, mask = np.asarray(sample.image), np.asarray(sample.mask)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise InputError(f"image: expected (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}; convert it")
    shape = image.shape[:2]
    given = np.asarray(sample.probabilities)
    if given.ndim != 3 or given.shape[1:] != shape or given.dtype.kind != "f":
        raise InputError(f"probabilities: expected (C, {shape[0]}, {shape[1]}) floats, got {given.shape} {given.dtype}")
    if not 2 <= len(given) <= VOID:
        raise InputError(f"probabilities: expected 2 to {VOID} labels, got {len(given)}")
    if classes and len(given) != classes:
        raise InputError(f"probabilities: expected {classes} labels as in the first sample, got {len(given)}")
    planes = given.reshape(len(given), -1)
    low, high = float(planes.min()), float(planes.max())
    if not (low >= 0 and high <= LARGEST_PROBABILITY):
        raise InputError(f"probabilities: expected 0 to 1, got {low:g} to {high:g}; take the softmax of scores first")
    if is_hard(planes):
        raise InputError(
            "probabilities: expected scores of a network, got 0 and 1 alone, which no CRF changes; give the labels 0.7,"
            " for example, and the others the rest"
        )
    if mask.shape != shape or mask.dtype.kind not in "iu":
        raise InputError(f"mask: expected {shape} label ids as integers, got {mask.shape} {mask.dtype}")
    truth = mask.ravel()
    wrong = truth[(truth != VOID) & ((truth < 0) | (truth >= len(planes)))]
    if wrong.size:
        raise InputError(f"mask: expected ids from 0 to {len(planes) - 1}, or {VOID} for void, got {wrong[0]}")
    return planes, truth


def hits_and_unions(
    truth: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]], classes: int
) -> NDArray[np.int64]:
    """Count, (2, C), the pixels where truth and labels both have a label, and where either has; void is ignored."""
    scored = truth != VOID
    true, found = truth[scored], labels[scored]
    hits = np.bincount(true[true == found], minlength=classes)
    either = np.bincount(true, minlength=classes) + np.bincount(found, minlength=classes) - hits
    return np.stack([hits, either])


def mean_iou(counts: NDArray[np.int64]) -> float:
    """Mean of hits / unions over the labels that occur."""
    hits, unions = counts[:, counts[1] > 0]
    return float((hits / unions).mean())

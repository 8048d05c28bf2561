"""Results of an evaluation: pixel counts and the scores derived from them."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .metrics import ConfusionMatrix

# Labelings of a segmenter.
DCNN, CRF = "network alone", "with CRF"


@dataclass(frozen=True)
class ImageScores:
    """Scores of one image. Their mean is not the score of the set.

    Attributes
    ----------
    place : int
        Index in the list, from 0.
    name : str
    labeled, void : int
        Numbers of labeled and of void pixels.
    mean_iou, pixel_accuracy : dict of str to float
        Scores by labeling, 0 to 1; NaN without labeled pixels. The mean is over the classes that occur in the image.
    overlaps : dict of str to dict of str to (int, int)
        Intersection and union in pixels, by labeling and by class that occurs.
    """

    place: int
    name: str
    labeled: int
    void: int
    mean_iou: dict[str, float]
    pixel_accuracy: dict[str, float]
    overlaps: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Pixel counts over a set of images, and all scores derived from them.

    Attributes
    ----------
    classes : tuple of str
        Class names by id, background first.
    counts : dict of str to (R, C, C) int64
        Counts by labeling ("network alone" and "with CRF" of a segmenter): pixels by the narrowest band of the trimap
        that contains them (the last index: none), by true class and by predicted class.
    widths : tuple of int
        Half-widths of the R - 1 bands; empty without a trimap.
    steps : dict of int to (C, C) int64
        Counts by number of mean-field steps; empty by default.
    rows : tuple of ImageScores
        Scores of the images in the order of the list.
    """

    classes: tuple[str, ...]
    counts: dict[str, NDArray[np.int64]]
    widths: tuple[int, ...]
    steps: dict[int, NDArray[np.int64]]
    rows: tuple[ImageScores, ...]

    @property
    def labelings(self) -> tuple[str, ...]:
        """Names of the scored label maps."""
        return tuple(self.counts)

    @property
    def images(self) -> int:
        """Number of scored images."""
        return len(self.rows)

    @property
    def without_void(self) -> int:
        """Number of images without void pixels, which have no band along the outlines."""
        return sum(row.void == 0 for row in self.rows)

    @property
    def dcnn(self) -> ConfusionMatrix:
        """Confusion matrix of the network alone."""
        return self.confusion(DCNN)

    @property
    def crf(self) -> ConfusionMatrix | None:
        """Confusion matrix after the CRF; None if the segmenter has no CRF."""
        return self.confusion(CRF) if CRF in self.counts else None

    def confusion(self, labeling: str) -> ConfusionMatrix:
        """Return a labeling's matrix over all labeled pixels."""
        return ConfusionMatrix(self.counts[labeling].sum(axis=0))

    def trimap(self, labeling: str) -> dict[int, ConfusionMatrix]:
        """Return a labeling's matrix over each band, by half-width; empty if no image has a band."""
        if not self.widths or self.without_void == self.images:
            return {}
        bands = self.counts[labeling].cumsum(axis=0)  # wider bands include narrower ones
        return {width: ConfusionMatrix(counts) for width, counts in zip(self.widths, bands, strict=False)}

    def by_steps(self) -> dict[int, ConfusionMatrix]:
        """Return the matrix after each scored number of mean-field steps."""
        return {steps: ConfusionMatrix(counts) for steps, counts in self.steps.items()}


def empty(
    classes: tuple[str, ...], labelings: Iterable[str], widths: tuple[int, ...], steps: Iterable[int]
) -> Evaluation:
    """Return an evaluation without images."""
    n = len(classes)
    counts = {name: np.zeros((len(widths) + 1, n, n), np.int64) for name in labelings}
    return Evaluation(classes, counts, widths, {k: np.zeros((n, n), np.int64) for k in steps}, ())


def total(parts: Iterable[Evaluation], begin: Evaluation) -> Evaluation:
    """Sum evaluations of different images of one list into `begin`, which must not be used afterward.

    Raises
    ------
    InputError
        If two of them contain the same image.
    """
    rows = list(begin.rows)
    for part in parts:
        for name, counts in part.counts.items():
            begin.counts[name] += counts
        for steps, counts in part.steps.items():
            begin.steps[steps] += counts
        rows += part.rows
    rows.sort(key=lambda row: row.place)
    for before, row in itertools.pairwise(rows):
        if before.place == row.place:
            raise InputError(f"{row.name}: expected one score per image, got two of image {row.place}")
    return Evaluation(begin.classes, begin.counts, begin.widths, begin.steps, tuple(rows))


def merged(parts: Sequence[Evaluation]) -> Evaluation:
    """Sum evaluations of different images of one list, one at least; see `total`."""
    first = parts[0]
    return total(parts, empty(first.classes, first.labelings, first.widths, first.steps))

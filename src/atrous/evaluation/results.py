"""What an evaluation found."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .metrics import ConfusionMatrix

# The labelings that a segmenter gives.
DCNN, CRF = "DCNN", "with CRF"


@dataclass(frozen=True)
class ImageScores:
    """One image's scores by themselves; they do not average to those of the set.

    Attributes
    ----------
    place : int
        In the list, from 0.
    name : str
    labeled, void : int
        Pixels that are scored and pixels that are not.
    mean_iou, pixel_accuracy : dict of str to float
        By labeling, 0 to 1; NaN where no pixel is labeled. The mean is over the classes that occur in this image.
    overlaps : dict of str to dict of str to (int, int)
        By labeling and class that occurs, as truth or as label: the pixels that both have, and that either has.
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
    """Pixel counts over a set of images, and every score that follows from them.

    Attributes
    ----------
    classes : tuple of str
        Names by id, background first.
    counts : dict of str to (R, C, C) int64
        Of each labeling, "DCNN" and "with CRF" of a segmenter: pixels by the narrowest band of the trimap that they
        are in (the last: in none), by true and by predicted class.
    widths : tuple of int
        Half-widths of the R - 1 bands; none without a trimap.
    steps : dict of int to (C, C) int64
        After that many mean-field steps; empty unless asked for.
    rows : tuple of ImageScores
        In the order of the list.
    """

    classes: tuple[str, ...]
    counts: dict[str, NDArray[np.int64]]
    widths: tuple[int, ...]
    steps: dict[int, NDArray[np.int64]]
    rows: tuple[ImageScores, ...]

    @property
    def labelings(self) -> tuple[str, ...]:
        """Names of what was scored."""
        return tuple(self.counts)

    @property
    def images(self) -> int:
        """How many were scored."""
        return len(self.rows)

    @property
    def without_void(self) -> int:
        """How many of them have no void pixel, and so no band along the outlines."""
        return sum(row.void == 0 for row in self.rows)

    @property
    def dcnn(self) -> ConfusionMatrix:
        """Of the network alone."""
        return self.confusion(DCNN)

    @property
    def crf(self) -> ConfusionMatrix | None:
        """After the CRF, if the segmenter has one."""
        return self.confusion(CRF) if CRF in self.counts else None

    def confusion(self, labeling: str) -> ConfusionMatrix:
        """Return a labeling's matrix over all labeled pixels."""
        return ConfusionMatrix(self.counts[labeling].sum(axis=0))

    def trimap(self, labeling: str) -> dict[int, ConfusionMatrix]:
        """Return a labeling's matrix over each band, by half-width; empty if no image has a band."""
        if not self.widths or self.without_void == self.images:
            return {}
        bands = self.counts[labeling].cumsum(axis=0)  # the wider ones hold the narrower
        return {width: ConfusionMatrix(counts) for width, counts in zip(self.widths, bands, strict=False)}

    def by_steps(self) -> dict[int, ConfusionMatrix]:
        """Return the matrix after each number of mean-field steps that was asked for."""
        return {steps: ConfusionMatrix(counts) for steps, counts in self.steps.items()}


def empty(
    classes: tuple[str, ...], labelings: Iterable[str], widths: tuple[int, ...], steps: Iterable[int]
) -> Evaluation:
    """Return the evaluation of no image."""
    n = len(classes)
    counts = {name: np.zeros((len(widths) + 1, n, n), np.int64) for name in labelings}
    return Evaluation(classes, counts, widths, {k: np.zeros((n, n), np.int64) for k in steps}, ())


def total(parts: Iterable[Evaluation], begin: Evaluation) -> Evaluation:
    """Sum evaluations of different images of one list; `begin` is added to and not to be used again.

    Raises
    ------
    InputError
        If an image is in two of them.
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
            raise InputError(f"{row.name}: expected to be scored once, got two scores of image {row.place}")
    return Evaluation(begin.classes, begin.counts, begin.widths, begin.steps, tuple(rows))


def merged(parts: Sequence[Evaluation]) -> Evaluation:
    """Sum evaluations of different images of one list, one at least; see `total`."""
    first = parts[0]
    return total(parts, empty(first.classes, first.labelings, first.widths, first.steps))

"""Paired bootstrap of the gain in mean IoU (Efron and Tibshirani 1993)."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._settings_files import LARGEST_SCORES, read_json
from ..data.metadata import check_classes
from ..errors import InputError
from .metrics import mean_iou
from .results import Evaluation

DRAWS = 10_000
# Number of draws computed in one matrix product.
_AT_ONCE = 500


@dataclass(frozen=True)
class Difference:
    """Two mean IoUs over the same images, 0 to 1, with the interval of their difference.

    Attributes
    ----------
    ours, theirs : float
    low, high : float
        Interval that contains the difference (ours - theirs) in 95 % of the draws.
    images : int
    """

    ours: float
    theirs: float
    low: float
    high: float
    images: int

    @property
    def gain(self) -> float:
        """Difference ours - theirs."""
        return self.ours - self.theirs


def paired_bootstrap(
    ours: NDArray[np.int64], theirs: NDArray[np.int64], *, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """Compare two mean IoUs on many random samples of the images, each as large as the set, with replacement.

    The interval shows how much the difference depends on the choice of images. It does not cover the variation between
    trainings with different seeds.

    Parameters
    ----------
    ours, theirs : (N, 2, C) int64
        Intersection and union in pixels for each image and class; the same images in the same order.
    draws, seed : int

    Raises
    ------
    InputError
        If the shapes differ or there is no labeled pixel.

    Examples
    --------
    >>> import numpy as np
    >>> theirs = np.array([[[50], [100]], [[60], [100]], [[70], [100]]])
    >>> found = paired_bootstrap(theirs + [[10], [0]], theirs)
    >>> round(found.gain, 6), round(found.low, 6), round(found.high, 6)
    (0.1, 0.1, 0.1)
    """
    if ours.shape != theirs.shape or ours.ndim != 3 or ours.shape[1] != 2:
        raise InputError(
            f"ours, theirs: expected counts (images, 2, classes) of one shape, got {ours.shape}, {theirs.shape}"
        )
    images = len(ours)
    if not ours[:, 1].any():
        raise InputError("ours: expected labeled pixels, got none")
    both = np.concatenate([ours.reshape(images, -1), theirs.reshape(images, -1)], axis=1).astype(np.float64)
    random = np.random.default_rng(seed)
    differences = []
    for begin in range(0, draws, _AT_ONCE):
        times = random.multinomial(images, np.full(images, 1 / images), size=min(_AT_ONCE, draws - begin))
        first, second = _mean_ious(times @ both, ours.shape[2])
        differences.append(first - second)
    # A draw without labeled pixels has no score.
    low, high = np.nanquantile(np.concatenate(differences), [0.025, 0.975])
    whole = _mean_ious(both.sum(axis=0, keepdims=True), ours.shape[2])
    return Difference(float(whole[0][0]), float(whole[1][0]), float(low), float(high), images)


def _mean_ious(sums: NDArray[np.float64], classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both mean IoUs of each draw, from (draws, 4 C) sums."""
    hits, unions = np.moveaxis(sums.reshape(len(sums), 2, 2, classes), 2, 0)
    means = mean_iou(hits, unions)
    return means[:, 0], means[:, 1]


@dataclass(frozen=True)
class Scored:
    """Scores of an evaluation for a comparison.

    Attributes
    ----------
    name : str
        Origin of the scores.
    sha256 : str
        Hash of the images' names.
    classes : tuple of str
    overlaps : dict of str to (N, 2, C) int64
        Intersections and unions by labeling, for `paired_bootstrap`.
    """

    name: str
    sha256: str
    classes: tuple[str, ...]
    overlaps: dict[str, NDArray[np.int64]]

    @classmethod
    def of(cls, result: Evaluation, sha256: str) -> "Scored":
        """Return the scores of an evaluation; `sha256` is the hash of its list."""
        rows = [dataclasses.asdict(row) for row in result.rows]
        return cls("this", sha256, result.classes, _overlaps(rows, result.labelings, result.classes))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Scored":
        """Read a file of `atrous evaluate --json`.

        Raises
        ------
        InputError
            If the file is of another kind, or of an older version without counts per image.
        """
        document = read_json(path, "scores of `atrous evaluate --json`", LARGEST_SCORES)
        try:
            classes = tuple(document["classes"])
            check_classes(classes)
            overlaps = _overlaps(document["per_image"], document["labelings"], classes)
            return cls(str(path), document["run"]["sha256"], classes, overlaps)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            if isinstance(error, KeyError) and error.args == ("overlaps",):
                raise InputError(
                    f"{path}: expected counts for each image, got a file of an older version; score it again"
                ) from None
            raise InputError(f"{path}: expected scores of `atrous evaluate --json`") from None

    def check_comparable(self, sha256: str, classes: Sequence[str], labelings: Sequence[str]) -> None:
        """Raise InputError unless images and classes are equal and at least one labeling is in both."""
        if self.sha256 != sha256:
            raise InputError(
                f"{self.name}: expected scores of the same images; score the same list with the same limit again"
            )
        if self.classes != tuple(classes):
            raise InputError(
                f"{self.name}: expected scores of the same classes; score the same data with the same class list again"
            )
        if not set(self.overlaps) & set(labelings):
            raise InputError(f"{self.name}: expected scores of {', '.join(labelings)}, got {', '.join(self.overlaps)}")


def differences(ours: Scored, theirs: Scored) -> dict[str, Difference]:
    """Compare the labelings that occur in both."""
    return {
        name: paired_bootstrap(overlaps, theirs.overlaps[name])
        for name, overlaps in ours.overlaps.items()
        if name in theirs.overlaps
    }


def _overlaps(
    rows: Sequence[Mapping[str, Any]], labelings: Sequence[str], classes: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Return the counts of images as an array, with zeros for classes that do not occur."""
    found = {name: np.zeros((len(rows), 2, len(classes)), np.int64) for name in labelings}
    place = {name: c for c, name in enumerate(classes)}
    for n, row in enumerate(rows):
        for name, counts in found.items():
            for class_name, pair in row["overlaps"][name].items():
                counts[n, :, place[class_name]] = pair
    return found

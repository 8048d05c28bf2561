"""Whether a gain in mean IoU is more than the choice of images: a paired bootstrap (Efron and Tibshirani 1993)."""

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
# Drawn at once: one product of matrices.
_AT_ONCE = 500


@dataclass(frozen=True)
class Difference:
    """Two mean IoUs over the same images, 0 to 1.

    Attributes
    ----------
    ours, theirs : float
    low, high : float
        Within them, the difference (ours - theirs) in 95 % of the draws.
    images : int
    """

    ours: float
    theirs: float
    low: float
    high: float
    images: int

    @property
    def gain(self) -> float:
        """Ours - theirs."""
        return self.ours - self.theirs


def paired_bootstrap(
    ours: NDArray[np.int64], theirs: NDArray[np.int64], *, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """Draw as many images as there are, with replacement, many times; each time both mean IoUs are of what is drawn.

    What the interval tells is how far the difference depends on which images happened to be scored. Of what another
    training with another seed would give, it says nothing.

    Parameters
    ----------
    ours, theirs : (N, 2, C) int64
        Of each image and class the pixels that truth and labels both have, and that either has; the same images in
        the same order.
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
    # A draw of images without a labeled pixel has no score.
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
    """What there is to compare of an evaluation.

    Attributes
    ----------
    name : str
        Where it is from.
    sha256 : str
        Of the images' names.
    classes : tuple of str
    overlaps : dict of str to (N, 2, C) int64
        By labeling, as `paired_bootstrap` takes them.
    """

    name: str
    sha256: str
    classes: tuple[str, ...]
    overlaps: dict[str, NDArray[np.int64]]

    @classmethod
    def of(cls, result: Evaluation, sha256: str) -> "Scored":
        """Take what has just been scored; `sha256` is its list's."""
        rows = [dataclasses.asdict(row) for row in result.rows]
        return cls("this", sha256, result.classes, _overlaps(rows, result.labelings, result.classes))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Scored":
        """Read what `atrous evaluate --json` wrote.

        Raises
        ------
        InputError
            If it is no such file, or one of a version that did not write each image's counts.
        """
        document = read_json(path, "scores as `atrous evaluate --json` writes them", LARGEST_SCORES)
        try:
            classes = tuple(document["classes"])
            check_classes(classes)
            overlaps = _overlaps(document["per_image"], document["labelings"], classes)
            return cls(str(path), document["run"]["sha256"], classes, overlaps)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            if isinstance(error, KeyError) and error.args == ("overlaps",):
                raise InputError(
                    f"{path}: is of an older version, without each image's counts; score it again"
                ) from None
            raise InputError(f"{path}: expected scores as `atrous evaluate --json` writes them") from None

    def check_comparable(self, sha256: str, classes: Sequence[str], labelings: Sequence[str]) -> None:
        """Raise InputError unless the images and classes are those, and a labeling is among those."""
        if self.sha256 != sha256:
            raise InputError(f"{self.name}: is of other images; score the same list (and --limit) again")
        if self.classes != tuple(classes):
            raise InputError(f"{self.name}: is of other classes; score the same data with the same --classes again")
        if not set(self.overlaps) & set(labelings):
            raise InputError(
                f"{self.name}: has the scores of {', '.join(self.overlaps)}, not of {', '.join(labelings)}"
            )


def differences(ours: Scored, theirs: Scored) -> dict[str, Difference]:
    """Compare each labeling that both have."""
    return {
        name: paired_bootstrap(overlaps, theirs.overlaps[name])
        for name, overlaps in ours.overlaps.items()
        if name in theirs.overlaps
    }


def _overlaps(
    rows: Sequence[Mapping[str, Any]], labelings: Sequence[str], classes: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Return the counts of images as ImageScores has them, classes that do not occur filled in."""
    found = {name: np.zeros((len(rows), 2, len(classes)), np.int64) for name in labelings}
    place = {name: c for c, name in enumerate(classes)}
    for n, row in enumerate(rows):
        for name, counts in found.items():
            for class_name, pair in row["overlaps"][name].items():
                counts[n, :, place[class_name]] = pair
    return found

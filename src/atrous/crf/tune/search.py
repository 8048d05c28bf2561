"""Coarse-to-fine search for the CRF's parameters (Chen et al. 2015, section 5.1)."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from atrous._resources import is_integer
from atrous.crf.kernels import Bilateral, Normalization, Spatial
from atrous.crf.pruning import NEGLIGIBLE
from atrous.crf.result import check_fraction, check_iterations
from atrous.crf.tune.plots import draw_heat_map
from atrous.crf.tune.scorer import LabeledImage, Samples, TrialScorer
from atrous.crf.tune.trials import Point, Trial, TrialTable
from atrous.errors import InputError

__all__ = ["LabeledImage", "Progress", "SearchResult", "Trial", "search"]

# The first grid of Chen et al. 2015, section 5.1, there written w1 = [5, 10], sa = [50:10:100], sb = [3:1:10].
WEIGHTS = (5.0, 10.0)
SXYS = (50.0, 60.0, 70.0, 80.0, 90.0, 100.0)
SRGBS = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0)


@dataclass(frozen=True)
class Progress:
    """State of a running search.

    Attributes
    ----------
    stage : str
        "reading", "grid", "border" (beyond it), "finer 1", "finer 2", ...
    done, total : int
        Images of this stage, counted once per trial; samples while reading.
    trials : int
        Number of trials in the table.
    best : Trial or None
        Best trial of this search so far.
    finished : bool
        True in the stage's last call, when its trials are in the table.
    """

    stage: str
    done: int
    total: int
    trials: int = 0
    best: Trial | None = None
    finished: bool = False


@dataclass(frozen=True)
class SearchResult:
    """Result of a search.

    Attributes
    ----------
    best : Trial
    trials : tuple of Trial
        All trials in the table in order of completion, including earlier runs.
    spatial : Spatial
        The kernel that was not searched.
    baseline : float
        Mean IoU without the CRF.
    images, classes : int
    converged : bool
        False if the search stopped at `most_moves`.
    """

    best: Trial
    trials: tuple[Trial, ...]
    spatial: Spatial
    baseline: float
    images: int
    classes: int
    converged: bool
    _table: TrialTable = field(repr=False, compare=False)
    _scorer: TrialScorer = field(repr=False, compare=False)

    @property
    def kernels(self) -> tuple[Spatial, Bilateral]:
        """Best kernels, for `DenseCRF`."""
        return self.spatial, Bilateral(weight=self.best.weight, sxy=self.best.sxy, srgb=self.best.srgb)

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the hits and unions of each image and label, (N, 2, C), with the best kernels and without the CRF.

        They are what `atrous.evaluation.paired_bootstrap` takes. The images are scored once more.
        """
        return self._scorer.counts(*self.best[:3]), self._scorer.baseline_counts

    def save_csv(self, path: str | os.PathLike[str]) -> None:
        """Write all trials as CSV, with their settings in a comment on the first line."""
        self._table.save(path)

    def save_heat_map(self, path: str | os.PathLike[str]) -> None:
        """Draw mean IoU over sxy and srgb, with the best weight in each cell, as a PNG.

        Raises
        ------
        MissingExtra
            Without matplotlib.
        """
        draw_heat_map(path, self.trials, baseline=self.baseline, images=self.images)


def search(
    samples: Samples,
    *,
    weights: Iterable[float] = WEIGHTS,
    sxys: Iterable[float] = SXYS,
    srgbs: Iterable[float] = SRGBS,
    refinements: int = 2,
    most_moves: int = 30,
    spatial_weight: float = 3.0,
    spatial_sxy: float = 3.0,
    iterations: int = 10,
    normalization: Normalization = "after",
    prune: float = NEGLIGIBLE,
    table: str | os.PathLike[str] | None = None,
    identity: Mapping[str, object] | None = None,
    threads: int | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> SearchResult:
    """Find the bilateral kernel with the highest mean IoU over labeled images.

    First all combinations of `weights`, `sxys` and `srgbs`. Then the 26 neighbors of the best one, one step up,
    down or neither in each parameter, are tried until none is better: the search moves past the first grid's
    borders where the best lies on one. Then the steps are halved, and so on, `refinements` times. A parameter
    with a single value stays fixed. Steps down are at most half the value, so all stay positive.

    All trials are of all samples, so any two compare.

    Parameters
    ----------
    samples : sequence of (image, probabilities, mask), or of LabeledImage
        (H, W, 3) uint8, (C, H, W) float (any precision) and (H, W) label ids with 255 for void. Each sample is
        read once for each pair of (sxy, srgb), from several threads: a sequence whose `__getitem__` reads
        files keeps the memory free.
    weights, sxys, srgbs : iterable of float
        First grid. Default: the paper's.
    refinements : int
        Number of times that the steps are halved.
    most_moves : int
        Maximum moves of the best trial at one step size; then the search stops.
    spatial_weight, spatial_sxy : float
        Parameters of the other kernel, which is not searched.
    iterations, normalization
        As for `DenseCRF`.
    prune : float
        As for `DenseCRF`. Pruning halves the time; 0 keeps all labels.
    table : path, optional
        CSV file of finished trials. Trials in an existing file are not repeated.
    identity : mapping, optional
        Identity of the table's trials instead of a hash of all samples, for probabilities that are recomputed in
        each run.
    threads : int, optional
        Default: all cores. The result is the same for any number.
    progress : callable
        Called after each image and each stage.

    Raises
    ------
    InputError
        If an argument or a sample is invalid, or the table belongs to another search.

    References
    ----------
    Chen, Papandreou, Kokkinos, Murphy, Yuille, ICLR 2015, section 5.1.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.zeros((8, 8, 3), np.uint8)
    >>> image[:, 4:] = 200
    >>> mask = (image[..., 0] > 0).astype(np.uint8)
    >>> right = np.where(np.arange(8) > 2, 0.6, 0.4) * np.ones((8, 1))
    >>> found = search([(image, np.stack([1 - right, right]), mask)], weights=[3], sxys=[4], srgbs=[5, 10])
    >>> bool(found.best.mean_iou >= found.baseline)
    True
    """
    grid = _Grid(weights, sxys, srgbs)
    for name, count in (("refinements", refinements), ("most_moves", most_moves)):
        if not is_integer(count) or count < 0:
            raise InputError(f"{name}: expected an integer, 0 or more, got {count!r}")
    if spatial_weight < 0:
        raise InputError(f"spatial_weight: expected 0 or more, got {spatial_weight!r}")
    spatial = Spatial(weight=spatial_weight, sxy=spatial_sxy)
    described = {
        "images": len(samples),
        "iterations": check_iterations(iterations),
        "normalization": normalization,
        "spatial": [spatial_weight, spatial_sxy],
        "prune": check_fraction("prune", prune),
    }
    # If possible, a table of another search is an error before a network runs.
    known = None if identity is None else TrialTable(table, {**identity, **described})
    scorer = TrialScorer(
        samples,
        spatial=spatial,
        iterations=iterations,
        normalization=normalization,
        prune=prune,
        threads=threads,
        hashed=known is None,
        done=lambda n: progress(Progress("reading", n, len(samples))),
    )
    if known is None:
        known = TrialTable(table, {"sha256": scorer.sha256, **described})
    known.create()
    trials = _Trials(scorer, known, len(samples), progress)

    trials.make(grid.points(), "grid")
    converged = True
    for finer in range(refinements + 1):
        if finer:
            grid.halve_steps(trials.best)
        moves = 0
        while not trials.made(around := grid.around(trials.best)):
            if moves == most_moves:
                converged = False
                break
            trials.make(around, f"finer {finer}" if finer else "border")
            moves += 1
        if not converged:
            break
    return SearchResult(
        max((trial for trial in (trials.best, *known.trials) if grid.allows(trial)), key=_score),
        known.trials,
        spatial,
        scorer.baseline,
        len(samples),
        scorer.classes,
        converged,
        known,
        scorer,
    )


class _Grid:
    """Values of the three parameters at the current step size."""

    def __init__(self, weights: Iterable[float], sxys: Iterable[float], srgbs: Iterable[float]) -> None:
        self._weight, self._sxy, self._srgb = _Axis("weights", weights), _Axis("sxys", sxys), _Axis("srgbs", srgbs)

    def points(self) -> list[Point]:
        """Return all combinations."""
        return list(itertools.product(self._weight.values, self._sxy.values, self._srgb.values))

    def around(self, best: Trial) -> list[Point]:
        """Return the combinations of the neighboring values, beyond the border if necessary."""
        return list(
            itertools.product(
                self._weight.around(best.weight), self._sxy.around(best.sxy), self._srgb.around(best.srgb)
            )
        )

    def allows(self, trial: Trial) -> bool:
        """Return whether a trial, of an earlier search too, has the values of the fixed parameters."""
        axes = {self._weight: trial.weight, self._sxy: trial.sxy, self._srgb: trial.srgb}
        return all(len(axis.values) > 1 or axis.values == [value] for axis, value in axes.items())

    def halve_steps(self, best: Trial) -> None:
        """Replace the values by the best ones and the midpoints to their neighbors."""
        self._weight.halve_steps(best.weight)
        self._sxy.halve_steps(best.sxy)
        self._srgb.halve_steps(best.srgb)


class _Axis:
    """Values of one parameter at the current step size."""

    def __init__(self, name: str, values: Iterable[float]) -> None:
        try:
            self.values = sorted({_rounded(float(value)) for value in values})
        except (TypeError, ValueError):
            raise InputError(f"{name}: expected positive numbers, got {values!r:.80}") from None
        if not self.values or not all(0 < value < float("inf") for value in self.values):
            raise InputError(f"{name}: expected at least one positive number, got {self.values}")

    def around(self, value: float) -> list[float]:
        """Return a value and its neighbors; adds values beyond the border."""
        if len(self.values) == 1:
            return self.values
        if value == self.values[0]:
            step = min(self.values[1] - value, value / 2)
            self.values.insert(0, _rounded(value - step))
        if value == self.values[-1]:
            self.values.append(_rounded(2 * value - self.values[-2]))
        at = self.values.index(value)
        return self.values[at - 1 : at + 2]

    def halve_steps(self, value: float) -> None:
        """Replace the values by one of them and the midpoints to its neighbors."""
        if len(self.values) > 1:
            lower, value, upper = self.around(value)
            self.values = [_rounded((lower + value) / 2), value, _rounded((value + upper) / 2)]


class _Trials:
    """Runs the trials that the table lacks."""

    def __init__(
        self, scorer: TrialScorer, table: TrialTable, images: int, progress: Callable[[Progress], None]
    ) -> None:
        self._scorer, self.table, self._images, self._progress = scorer, table, images, progress
        # Points of this search only: trials of another grid in the table must not change its course.
        self._made: set[Point] = set()
        self._best: Trial | None = None

    @property
    def best(self) -> Trial:
        """Best trial of this search so far; the earliest of equal ones, so that a plateau ends the search."""
        assert self._best is not None
        return self._best

    def made(self, points: Iterable[Point]) -> bool:
        return all(point in self._made for point in points)

    def make(self, points: Iterable[Point], stage: str) -> None:
        missing: dict[tuple[float, float], list[float]] = {}
        for point in sorted(points, key=lambda point: (point[1], point[2], point[0])):
            if point in self.table:
                self._take(Trial(*point, self.table[point]))
            else:
                missing.setdefault(point[1:], []).append(point[0])
        finished, total = 0, self._images * sum(map(len, missing.values()))
        for (sxy, srgb), weights in missing.items():

            def done(images: int, before: int = finished, weights: Sequence[float] = weights) -> None:
                self._progress(Progress(stage, before + images * len(weights), total, len(self.table), self._best))

            scores = self._scorer.mean_ious(sxy, srgb, weights, done)
            trials = [Trial(weight, sxy, srgb, score) for weight, score in zip(weights, scores, strict=True)]
            self.table.add(trials)
            for trial in trials:
                self._take(trial)
            finished += self._images * len(weights)
        self._progress(Progress(stage, total, total, len(self.table), self._best, finished=True))

    def _take(self, trial: Trial) -> None:
        self._made.add(trial[:3])
        if self._best is None or trial.mean_iou > self._best.mean_iou:
            self._best = trial


def _score(trial: Trial) -> float:
    return trial.mean_iou


def _rounded(value: float) -> float:
    # Equal values that were computed differently become one, with few digits.
    return float(f"{value:.6g}")

"""Whether an exported network says what the checkpoint says that it was exported from."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data.dataset import read_at_most
from ..data.samples import Sample, read_pair
from ..errors import InputError
from ..segmenter import Segmentation, Segmenter
from .bootstrap import Difference, paired_bootstrap
from .metrics import ConfusionMatrix

# (height, width): one pixel and two more sizes of the form 8 k - 7, which need no padding, and two that do.
SIZES = ((1, 1), (97, 129), (200, 321), (321, 321), (385, 250))

LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Tolerance:
    """How far an exported network may be off.

    Attributes
    ----------
    scores : float
        Largest difference of a score, as a share of the largest score (in absolute value).
    labels : float
        Share of the photos' pixels whose label may be another, without and with the CRF.
    miou : float
        Mean IoU that may be lost, 0 to 1, without and with the CRF. More is a fault if it is not a few photos' doing.
    """

    scores: float
    labels: float
    miou: float


# float32 and float16: a few times what a network trained on VOC is off by. int8: beyond what any of 10,000 draws of 16
# photos of VOC or MSRC-21 is off by; of mean IoU, beyond what nearly all of them lose (benchmarks/export.py).
TOLERANCES = {
    "float32": Tolerance(scores=1e-4, labels=1e-3, miou=2e-3),
    "float16": Tolerance(scores=5e-3, labels=5e-3, miou=5e-3),
    "int8": Tolerance(scores=0.3, labels=0.05, miou=0.03),
}


@dataclass(frozen=True)
class Agreement:
    """What two networks said of one picture.

    Attributes
    ----------
    name : str
    height, width : int
    difference : float
        Largest difference of a score.
    largest : float
        Largest score, in absolute value, of the network exported from.
    pixels : int
    others : int
        Pixels (cells of the score grid, where `crf_others` is None) with another label.
    crf_others : int or None
        Pixels with another label after the CRF; None if it did not run.
    """

    name: str
    height: int
    width: int
    difference: float
    largest: float
    pixels: int
    others: int
    crf_others: int | None = None


@dataclass
class Parity:
    """What two networks said of all pictures.

    Attributes
    ----------
    sizes : list of Agreement
        One picture at several sizes.
    photos : list of Agreement
    masks : int
        Photos with masks.
    confusion : dict of str to (ConfusionMatrix, ConfusionMatrix)
        By labeling, of the network exported from and of the exported one; empty without masks.
    overlaps : dict of str to list of (2, 2, C) int64
        By labeling, of each photo with a mask: of both networks what `ConfusionMatrix.overlaps` says.
    largest_activation : float or None
        In the network exported from; set where it matters, for half precision.
    """

    sizes: list[Agreement] = field(default_factory=list)
    photos: list[Agreement] = field(default_factory=list)
    masks: int = 0
    confusion: dict[str, tuple[ConfusionMatrix, ConfusionMatrix]] = field(default_factory=dict)
    overlaps: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    largest_activation: float | None = None

    @property
    def difference(self) -> float:
        """Largest difference of a score; NaN if a score is none."""
        return float(np.max([row.difference for row in (*self.sizes, *self.photos)]))

    @property
    def relative_difference(self) -> float:
        """`difference` as a share of the largest score."""
        largest = max(row.largest for row in (*self.sizes, *self.photos))
        return self.difference / largest if largest else self.difference

    @property
    def others(self) -> float | None:
        """Share of the photos' pixels with another label from the network alone; None without photos."""
        pixels = sum(row.pixels for row in self.photos)
        return sum(row.others for row in self.photos) / pixels if pixels else None

    @property
    def crf_others(self) -> float | None:
        """Share of the photos' pixels with another label after the CRF; None where it did not run."""
        counted = [(row.crf_others, row.pixels) for row in self.photos if row.crf_others is not None]
        return sum(n for n, _ in counted) / sum(p for _, p in counted) if counted else None

    def mean_iou(self) -> dict[str, tuple[float, float]]:
        """Return mean IoU by labeling, of the network exported from and of the exported one."""
        return {name: (a.mean_iou(), b.mean_iou()) for name, (a, b) in self.confusion.items()}

    def lost(self, labeling: str) -> Difference:
        """Return the gain in mean IoU, mostly below 0, with what it is over other draws of the photos with masks."""
        before, after = np.stack(self.overlaps[labeling], axis=1)
        return paired_bootstrap(after, before)

    def faults(self, tolerance: Tolerance) -> list[str]:
        """Say what is out of tolerance; nothing if all is well."""
        found = []
        # Written so that NaN is a fault.
        if not self.relative_difference <= tolerance.scores:
            found.append(
                f"scores differ by up to {100 * self.relative_difference:.3g} % of the largest"
                f" (tolerance {100 * tolerance.scores:.3g} %)"
            )
        for share, where in ((self.others, "without the CRF"), (self.crf_others, "with the CRF")):
            if share is not None and not share <= tolerance.labels:
                found.append(
                    f"{100 * share:.3g} % of the pixels {where} have another label"
                    f" (tolerance {100 * tolerance.labels:.3g} %)"
                )
        for name, (before, after) in self.mean_iou().items():
            # A small object that is another class now can cost the mean of a few photos several points.
            if before == before and not before - after <= tolerance.miou and not self.lost(name).high >= 0:
                found.append(
                    f"mean IoU ({name}) falls by {100 * (before - after):.2f} points"
                    f" (tolerance {100 * tolerance.miou:.3g})"
                )
        if self.largest_activation is not None and not self.largest_activation <= LARGEST_HALF:
            found.append(
                f"activations reach {self.largest_activation:,.0f}, but half precision ends at {LARGEST_HALF:,.0f}"
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return all figures, for JSON."""
        return {
            "score_difference": self.difference,
            "score_difference_relative": self.relative_difference,
            "other_labels": self.others,
            "other_labels_with_crf": self.crf_others,
            "largest_activation": self.largest_activation,
            "masks": self.masks,
            "mean_iou": {name: {"checkpoint": a, "exported": b} for name, (a, b) in self.mean_iou().items()},
            "sizes": [dataclasses.asdict(row) for row in self.sizes],
            "photos": [dataclasses.asdict(row) for row in self.photos],
        }


def compare(
    ours: Segmenter,
    theirs: Segmenter,
    samples: Sequence[Sample] = (),
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    done: Callable[[int], None] = lambda n: None,
) -> Parity:
    """Compare an exported network with the one it was exported from.

    Parameters
    ----------
    ours, theirs : Segmenter
        Of the network exported from and of the exported one, with the same CRF.
    samples : sequence of Sample
        Photos. With masks, mean IoU is compared too, at the photos' own size; the others are scaled down to what the
        network sees, as the CRF takes its time on large ones.
    sizes : sequence of (height, width)
        At which the first photo, or a generated picture, is shown to the networks alone.
    done : callable
        Told the number of photos that are done, after each.

    Raises
    ------
    InputError
        If a photo or its mask cannot be read or has another class.
    """
    (parity,) = compare_several(ours, [theirs], samples, sizes=sizes, done=done)
    return parity


def compare_several(
    ours: Segmenter,
    theirs: Sequence[Segmenter],
    samples: Sequence[Sample] = (),
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    done: Callable[[int], None] = lambda n: None,
) -> list[Parity]:
    """Compare several exported networks with the one they were exported from, as `compare` does one.

    What the checkpoint says of a photo is computed once. Returns a Parity for each of `theirs`.
    """
    parities = [Parity() for _ in theirs]
    first = read_at_most(samples[0].image, ours.max_side) if samples else generated_picture()
    for height, width in sizes:
        scaled = np.asarray(Image.fromarray(first).resize((width, height), Image.Resampling.BILINEAR))
        expected = ours.engine.scores(scaled)
        for parity, other in zip(parities, theirs, strict=True):
            parity.sizes.append(_networks(expected, other.engine.scores(scaled), height, width))
    for i, sample in enumerate(samples, start=1):
        image, truth = _photo(sample, ours.max_side)
        before = ours(image)
        for parity, other in zip(parities, theirs, strict=True):
            _add_photo(parity, sample.name, truth, before, other(image), with_crf=ours.crf is not None)
        done(i)
    return parities


def generated_picture(height: int = 385, width: int = 513, seed: int = 0) -> NDArray[np.uint8]:
    """Return (height, width, 3) uint8 random colors that blend into each other, coarse and fine."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cells, weight in ((4, 0.6), (24, 0.3), (96, 0.1)):
        grid = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += weight * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    return total.clip(0, 255).astype(np.uint8)


def _networks(expected: NDArray[np.float32], got: NDArray[np.float32], height: int, width: int) -> Agreement:
    difference, largest = _difference(expected, got)
    others = int((expected.argmax(axis=0) != got.argmax(axis=0)).sum())
    return Agreement(f"{height} x {width}", height, width, difference, largest, expected[0].size, others)


def _difference(expected: NDArray[np.float32], got: NDArray[np.float32]) -> tuple[float, float]:
    if expected.shape != got.shape:
        raise InputError(f"scores of shape {got.shape} from the exported network; expected {expected.shape}")
    return float(np.abs(got - expected).max()), float(np.abs(expected).max())


def _photo(sample: Sample, max_side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    return read_pair(sample) if sample.label is not None else (read_at_most(sample.image, max_side), None)


def _add_photo(
    parity: Parity,
    name: str,
    truth: NDArray[np.uint8] | None,
    before: Segmentation,
    after: Segmentation,
    *,
    with_crf: bool,
) -> None:
    assert before.network is not None
    assert after.network is not None
    difference, largest = _difference(before.network.scores, after.network.scores)
    maps = {"DCNN": (before.dcnn_labels, after.dcnn_labels)}
    if with_crf:
        maps["with CRF"] = before.labels, after.labels
    others = {labeling: int(np.count_nonzero(a != b)) for labeling, (a, b) in maps.items()}
    height, width, _ = before.image.shape
    parity.photos.append(
        Agreement(name, height, width, difference, largest, height * width, others["DCNN"], others.get("with CRF"))
    )
    if truth is None:
        return
    parity.masks += 1
    for labeling, labels in maps.items():
        matrices = parity.confusion.setdefault(
            labeling, (ConfusionMatrix(len(before.classes)), ConfusionMatrix(len(before.classes)))
        )
        of_photo = []
        for matrix, predicted in zip(matrices, labels, strict=True):
            assert predicted is not None
            own = ConfusionMatrix(len(before.classes))
            own.add(truth, predicted)
            matrix.counts += own.counts
            of_photo.append(own.overlaps())
        parity.overlaps.setdefault(labeling, []).append(np.array(of_photo))

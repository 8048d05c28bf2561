"""Comparison of an exported network's outputs with those of its checkpoint."""

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
from .results import CRF, DCNN

# (height, width): one pixel, two more sizes of the form 8 k - 7, which need no padding, and two that need it.
SIZES = ((1, 1), (97, 129), (200, 321), (321, 321), (385, 250))

LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Tolerance:
    """Largest accepted differences of an exported network.

    Attributes
    ----------
    scores : float
        Difference of a score, as a share of the largest absolute score.
    labels : float
        Share of the images' pixels with another label, without and with the CRF.
    miou : float
        Loss in mean IoU, 0 to 1, without and with the CRF. A larger loss passes if the bootstrap attributes it to the
        choice of images.
    """

    scores: float
    labels: float
    miou: float


# float32 and float16: a few times the measured differences of a network trained on VOC. int8: above all of 10,000
# samples of 16 images of VOC or MSRC-21, and for mean IoU above nearly all of them (benchmarks/export.py).
TOLERANCES = {
    "float32": Tolerance(scores=1e-4, labels=1e-3, miou=2e-3),
    "float16": Tolerance(scores=5e-3, labels=5e-3, miou=5e-3),
    "int8": Tolerance(scores=0.3, labels=0.05, miou=0.03),
}


@dataclass(frozen=True)
class Agreement:
    """Differences between two networks on one image.

    Attributes
    ----------
    name : str
    height, width : int
    difference : float
        Largest difference of a score.
    largest : float
        Largest absolute score of the checkpoint.
    pixels : int
    others : int
        Pixels with another label (cells of the score grid if `crf_others` is None).
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
    """Differences between two networks on all images.

    Attributes
    ----------
    sizes : list of Agreement
        One image at several sizes.
    images : list of Agreement
    masks : int
        Number of images with masks.
    confusion : dict of str to (ConfusionMatrix, ConfusionMatrix)
        Matrices of the checkpoint and of the exported network by labeling; empty without masks.
    overlaps : dict of str to list of (2, 2, C) int64
        `ConfusionMatrix.overlaps` of both networks for each image with a mask, by labeling.
    largest_activation : float or None
        Largest activation of the checkpoint, measured for half precision only.
    """

    sizes: list[Agreement] = field(default_factory=list)
    images: list[Agreement] = field(default_factory=list)
    masks: int = 0
    confusion: dict[str, tuple[ConfusionMatrix, ConfusionMatrix]] = field(default_factory=dict)
    overlaps: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    largest_activation: float | None = None

    @property
    def difference(self) -> float:
        """Largest difference of a score; NaN if a score is NaN."""
        return float(np.max([row.difference for row in (*self.sizes, *self.images)]))

    @property
    def relative_difference(self) -> float:
        """`difference` as a share of the largest score."""
        largest = max(row.largest for row in (*self.sizes, *self.images))
        return self.difference / largest if largest else self.difference

    @property
    def others(self) -> float | None:
        """Share of the images' pixels with another label without the CRF; None without images."""
        pixels = sum(row.pixels for row in self.images)
        return sum(row.others for row in self.images) / pixels if pixels else None

    @property
    def crf_others(self) -> float | None:
        """Share of the images' pixels with another label after the CRF; None if it did not run."""
        counted = [(row.crf_others, row.pixels) for row in self.images if row.crf_others is not None]
        return sum(n for n, _ in counted) / sum(p for _, p in counted) if counted else None

    def mean_iou(self) -> dict[str, tuple[float, float]]:
        """Return mean IoU by labeling, of the checkpoint and of the exported network."""
        return {name: (a.mean_iou(), b.mean_iou()) for name, (a, b) in self.confusion.items()}

    def lost(self, labeling: str) -> Difference:
        """Return the difference in mean IoU over the images with masks, with its bootstrap interval."""
        before, after = np.stack(self.overlaps[labeling], axis=1)
        return paired_bootstrap(after, before)

    def faults(self, tolerance: Tolerance) -> list[str]:
        """Return a description of each exceeded tolerance."""
        found = []
        # The comparisons are written so that NaN exceeds a tolerance.
        if not self.relative_difference <= tolerance.scores:
            found.append(
                f"scores differ by up to {100 * self.relative_difference:.3g} % of the largest"
                f" (tolerance {100 * tolerance.scores:.3g} %)"
            )
        for share, where in ((self.others, "without the CRF"), (self.crf_others, "with the CRF")):
            if share is not None and not share <= tolerance.labels:
                found.append(
                    f"{100 * share:.3g} % of the pixels have another label {where}"
                    f" (tolerance {100 * tolerance.labels:.3g} %)"
                )
        for name, (before, after) in self.mean_iou().items():
            # One misclassified small object can change the mean of a few images by several points.
            if before == before and not before - after <= tolerance.miou and not self.lost(name).high >= 0:
                found.append(
                    f"mean IoU ({name}) falls by {100 * (before - after):.2f} points"
                    f" (tolerance {100 * tolerance.miou:.3g})"
                )
        if self.largest_activation is not None and not self.largest_activation <= LARGEST_HALF:
            found.append(
                f"activations reach {self.largest_activation:,.0f}, above the half-precision limit of"
                f" {LARGEST_HALF:,.0f}"
            )
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return all figures for JSON."""
        return {
            "score_difference": self.difference,
            "score_difference_relative": self.relative_difference,
            "other_labels": self.others,
            "other_labels_with_crf": self.crf_others,
            "largest_activation": self.largest_activation,
            "masks": self.masks,
            "mean_iou": {name: {"checkpoint": a, "exported": b} for name, (a, b) in self.mean_iou().items()},
            "sizes": [dataclasses.asdict(row) for row in self.sizes],
            "photos": [dataclasses.asdict(row) for row in self.images],
        }


def compare(
    ours: Segmenter,
    theirs: Segmenter,
    samples: Sequence[Sample] = (),
    *,
    sizes: Sequence[tuple[int, int]] = SIZES,
    done: Callable[[int], None] = lambda n: None,
) -> Parity:
    """Compare an exported network with its checkpoint.

    Parameters
    ----------
    ours, theirs : Segmenter
        Segmenters of the checkpoint and of the exported network, with the same CRF.
    samples : sequence of Sample
        Images. With masks, mean IoU is compared, too, at full size. Images without masks are scaled down to the
        network's input size, to save time in the CRF.
    sizes : sequence of (height, width)
        Sizes at which the networks alone are compared, on the first image or a generated one.
    done : callable
        Called with the number of finished images after each one.

    Raises
    ------
    InputError
        If an image or its mask cannot be read, or the mask has another class.
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
    """Compare several exported networks with their checkpoint; see `compare`.

    The checkpoint runs once per image. Returns a Parity for each of `theirs`.
    """
    parities = [Parity() for _ in theirs]
    first = read_at_most(samples[0].image, ours.max_side) if samples else generated_image()
    for height, width in sizes:
        scaled = np.asarray(Image.fromarray(first).resize((width, height), Image.Resampling.BILINEAR))
        expected = ours.engine.scores(scaled)
        for parity, other in zip(parities, theirs, strict=True):
            parity.sizes.append(_networks(expected, other.engine.scores(scaled), height, width))
    for i, sample in enumerate(samples, start=1):
        image, truth = _image_of(sample, ours.max_side)
        before = ours(image)
        for parity, other in zip(parities, theirs, strict=True):
            _add_image(parity, sample.name, truth, before, other(image), with_crf=ours.crf is not None)
        done(i)
    return parities


def generated_image(height: int = 385, width: int = 513, seed: int = 0) -> NDArray[np.uint8]:
    """Return (height, width, 3) uint8 random color gradients, coarse and fine."""
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
        raise InputError(f"expected scores of shape {expected.shape} from the exported network, got {got.shape}")
    return float(np.abs(got - expected).max()), float(np.abs(expected).max())


def _image_of(sample: Sample, max_side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    return read_pair(sample) if sample.label is not None else (read_at_most(sample.image, max_side), None)


def _add_image(
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
    maps = {DCNN: (before.dcnn_labels, after.dcnn_labels)}
    if with_crf:
        maps[CRF] = before.labels, after.labels
    others = {labeling: int(np.count_nonzero(a != b)) for labeling, (a, b) in maps.items()}
    height, width, _ = before.image.shape
    parity.images.append(
        Agreement(name, height, width, difference, largest, height * width, others[DCNN], others.get(CRF))
    )
    if truth is None:
        return
    parity.masks += 1
    for labeling, labels in maps.items():
        matrices = parity.confusion.setdefault(
            labeling, (ConfusionMatrix(len(before.classes)), ConfusionMatrix(len(before.classes)))
        )
        of_image = []
        for matrix, predicted in zip(matrices, labels, strict=True):
            assert predicted is not None
            own = ConfusionMatrix(len(before.classes))
            own.add(truth, predicted)
            matrix.counts += own.counts
            of_image.append(own.overlaps())
        parity.overlaps.setdefault(labeling, []).append(np.array(of_image))

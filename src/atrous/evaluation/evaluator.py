"""Evaluation of a segmenter or of label maps on a list of images."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .._distributed import SINGLE, TorchrunProcess
from .._parallel import map_ordered
from ..data.samples import Sample, read_pair
from ..errors import InputError
from ..image_io.decode import read_image
from ..segmenter import Segmenter
from .metrics import ConfusionMatrix, count_pixels
from .predictors import Labeler, LabelMaps, SegmenterLabeler
from .results import Evaluation, ImageScores, empty, total
from .trimap import rings


def evaluate(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    *,
    workers: int = 1,
    trimap: Sequence[int] = (),
    mean_field_steps: Sequence[int] = (),
    done: Callable[[int], None] = lambda n: None,
) -> Evaluation:
    """Segment each image and add its pixels to one confusion matrix (Chen et al. 2015, section 5).

    Parameters
    ----------
    segmenter : Segmenter
    samples : sequence of Sample
        Images with label maps.
    workers : int
        Number of images processed at the same time; it does not change the result. Each image uses as many threads as
        the segmenter.
    trimap : sequence of int
        Half-widths in pixels of further bands along the outlines to score; `trimap.WIDTHS` are the authors'.
    mean_field_steps : sequence of int
        Also score the CRF after these numbers of steps.
    done : callable
        Called with the number of finished images after each one.

    Raises
    ------
    InputError
        If an image or its labels cannot be read, or a label is not one of the segmenter's classes.
    """
    labeler = SegmenterLabeler(segmenter, mean_field_steps)
    return score(labeler, samples, workers=workers, trimap=trimap, done=done)


def score(
    labeler: Labeler,
    samples: Sequence[Sample],
    *,
    workers: int = 1,
    trimap: Sequence[int] = (),
    process: TorchrunProcess = SINGLE,
    save: Callable[[Sample, LabelMaps], None] | None = None,
    done: Callable[[int], None] = lambda n: None,
) -> Evaluation:
    """Count the pixels of each image's label maps, like `evaluate` but for any labeler.

    Parameters
    ----------
    labeler : Labeler
    samples : sequence of Sample
    workers, trimap, done
        See `evaluate`.
    process : TorchrunProcess
        This process, which scores its share of the samples.
    save : callable, optional
        Called with each sample's maps, from several threads. With it, samples without labels are not scored; without
        it, they are errors.
    """
    if workers < 1:
        raise InputError(f"workers: expected 1 or more, got {workers}")
    widths = tuple(sorted(set(trimap)))
    if widths and not 1 <= widths[0] <= widths[-1] < 2**15:
        raise InputError(f"trimap: expected half-widths of at least 1 pixel, got {list(trimap)}")
    nothing = empty(labeler.classes, labeler.labelings, widths, labeler.steps)

    def one(place: int) -> Evaluation | None:
        sample = samples[place]
        if sample.label is None and save is not None:
            save(sample, labeler(sample, read_image(sample.image)))
            return None
        image, truth = read_pair(replace(sample, classes=len(labeler.classes)))
        maps = labeler(sample, image)
        if save is not None:
            save(sample, maps)
        return _scored(place, sample, truth, maps, nothing)

    def each() -> Iterator[Evaluation]:
        for n, part in enumerate(map_ordered(one, process.places(len(samples)), workers), start=1):
            if part is not None:
                yield part
            done(n)

    return total(each(), nothing)


def _scored(place: int, sample: Sample, truth: NDArray[np.uint8], maps: LabelMaps, like: Evaluation) -> Evaluation:
    """Return the evaluation of one image."""
    n = len(like.classes)
    ring = rings(truth, like.widths) if like.widths else None
    counts = {}
    for key, labels in maps.maps.items():
        try:
            counts[key] = count_pixels(truth, labels, n, ring, len(like.widths) + 1)
        except InputError as error:
            raise InputError(f"{maps.files.get(key, sample.image)}: {error}") from None
    steps = {key: count_pixels(truth, labels, n)[0] for key, labels in maps.steps.items()}
    own = {key: ConfusionMatrix(of_rings.sum(axis=0)) for key, of_rings in counts.items()}
    labeled = int(next(iter(own.values())).counts.sum())
    row = ImageScores(
        place,
        sample.name,
        labeled,
        truth.size - labeled,
        {key: matrix.mean_iou() for key, matrix in own.items()},
        {key: matrix.pixel_accuracy() for key, matrix in own.items()},
        {key: _overlaps(matrix, like.classes) for key, matrix in own.items()},
    )
    return Evaluation(like.classes, counts, like.widths, steps, (row,))


def _overlaps(matrix: ConfusionMatrix, classes: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    both, either = matrix.overlaps()
    return {classes[c]: (int(both[c]), int(either[c])) for c in either.nonzero()[0]}

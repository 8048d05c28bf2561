"""Score a segmenter on a list of images, with and without the CRF in one pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.samples import Sample, read_pair
from ..segmenter import Segmenter
from .confusion import ConfusionMatrix


@dataclass(frozen=True)
class Evaluation:
    """Scores over one list of images.

    Attributes
    ----------
    dcnn : ConfusionMatrix
        Of the network alone.
    crf : ConfusionMatrix or None
        After the CRF, if the segmenter has one.
    images : int
    """

    dcnn: ConfusionMatrix
    crf: ConfusionMatrix | None
    images: int


def evaluate(
    segmenter: Segmenter, samples: Sequence[Sample], *, done: Callable[[int], None] = lambda n: None
) -> Evaluation:
    """Segment each image and count its pixels into one confusion matrix (Chen et al. 2015, section 5).

    Parameters
    ----------
    segmenter : Segmenter
    samples : sequence of Sample
        With label maps.
    done : callable
        Told the number of images that are done, after each.
    """
    dcnn = ConfusionMatrix(len(segmenter.classes))
    crf = ConfusionMatrix(len(segmenter.classes)) if segmenter.crf is not None else None
    for n, sample in enumerate(samples, start=1):
        image, truth = read_pair(sample)
        probabilities = segmenter.probabilities(image)
        dcnn.add(truth, probabilities.argmax(axis=0).astype(np.uint8))
        if crf is not None:
            refined = segmenter.refine(image, probabilities)
            crf.add(truth, refined.argmax(axis=0).astype(np.uint8))
        done(n)
    return Evaluation(dcnn, crf, len(samples))

"""The CRF's parameters by grid search (Chen et al. 2015, section 5.1)."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.metadata import CrfParameters
from ..data.voc import Sample, read_pair
from ..segmenter import Segmenter
from .confusion import ConfusionMatrix


@dataclass(frozen=True)
class Trial:
    """One point of the grid and its mean IoU."""

    parameters: CrfParameters
    mean_iou: float


def grid(weights: Sequence[float], sxys: Sequence[float], srgbs: Sequence[float]) -> list[CrfParameters]:
    """All combinations of the bilateral kernel's parameters; the spatial kernel stays at 3 and 3."""
    return [CrfParameters(weight=w, sxy=xy, srgb=rgb) for xy, rgb, w in itertools.product(sxys, srgbs, weights)]


def search(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    candidates: Sequence[CrfParameters],
    *,
    done: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Score each candidate on the same images; the network runs once per image.

    Parameters
    ----------
    segmenter : Segmenter
        Its own CRF parameters play no part.
    samples : sequence of Sample
        Labelled images that the network was not trained on.
    candidates : sequence of CrfParameters
    done : callable
        Told each trial when it is done.

    Returns
    -------
    list of Trial
        Best first.
    """
    prepared = [_prepare(segmenter, sample) for sample in samples]
    trials = []
    for parameters in candidates:
        refiner = Segmenter(segmenter.engine, crf=parameters, max_side=segmenter.max_side, threads=segmenter.threads)
        matrix = ConfusionMatrix(len(segmenter.classes))
        for image, probabilities, truth in prepared:
            refined = refiner.refine(image, probabilities.astype(np.float32))
            matrix.add(truth, refined.argmax(axis=0).astype(np.uint8))
        trials.append(Trial(parameters, matrix.mean_iou()))
        done(trials[-1])
    return sorted(trials, key=lambda trial: -trial.mean_iou)


def _prepare(segmenter: Segmenter, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.float16], NDArray[np.uint8]]:
    image, truth = read_pair(sample)
    # Half precision holds a hundred images' probabilities in under a gigabyte.
    return image, segmenter.probabilities(image).astype(np.float16), truth

"""Time saved in a search of the CRF's parameters by sharing lattices between trials.

    python benchmarks/tune.py VOC_FOLDER [--images N]

Three bilateral weights at one (sxy, srgb), scored on held-out images: all three at once, one weight at a time, and with
a new `DenseCRF` for each trial. The benchmark checks that all three give the same mean IoU.
"""

import argparse
import time

import numpy as np

import atrous
from atrous.crf import Bilateral, DenseCRF, Spatial
from atrous.crf.tune.scorer import TrialScorer, hits_and_unions, mean_iou
from atrous.data.folder_dataset import read_list
from atrous.evaluation.tuning_samples import NetworkSamples
from segment import processor

WEIGHTS = (3, 4, 5)
SXY, SRGB = 80, 5


def with_new_crf(samples: NetworkSamples, weight: float, classes: int) -> float:
    """Return a trial's mean IoU with a new DenseCRF."""
    counts = np.zeros((2, classes), np.int64)
    for image, probabilities, mask, _ in samples:
        crf = DenseCRF(image, [Spatial(weight=3, sxy=3), Bilateral(weight=weight, sxy=SXY, srgb=SRGB)])
        labels = crf.labels(np.asarray(probabilities, np.float32))
        counts += hits_and_unions(np.ravel(mask), labels.ravel(), classes)
    return mean_iou(counts)


def main() -> None:
    """Print the seconds per trial and image."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", help="a PASCAL VOC folder")
    parser.add_argument("--images", type=int, default=16)
    arguments = parser.parse_args()

    _, held_out = read_list(arguments.data, "train_aug").hold_out(arguments.images)
    samples = NetworkSamples(atrous.Segmenter(crf=None), held_out.samples)
    scorer = TrialScorer(
        samples,
        spatial=Spatial(weight=3, sxy=3),
        iterations=10,
        normalization="after",
        prune=0.05,
        threads=None,
        hashed=False,
    )
    ways = {
        "three weights at once": lambda: scorer.mean_ious(SXY, SRGB, WEIGHTS),
        "a weight at a time": lambda: [scorer.mean_ious(SXY, SRGB, [weight])[0] for weight in WEIGHTS],
        "DenseCRF for each trial": lambda: [with_new_crf(samples, weight, scorer.classes) for weight in WEIGHTS],
    }
    print(f"{len(samples)} images; {processor()}; seconds per trial and image")
    scores = []
    for name, way in ways.items():
        started = time.perf_counter()
        scores.append(way())
        print(f"{name:<26}{(time.perf_counter() - started) / len(WEIGHTS) / len(samples):>8.3f}")
    assert scores[0] == scores[1] == scores[2], scores


if __name__ == "__main__":
    main()

"""Scores and numbers of regions without and with the removal of small regions.

    python benchmarks/regions.py VOC [--list val785] [--limit N]

The bundled model with its CRF on images of a VOC folder. Sizes are of an image of 513 x 513 pixels; other images are in
proportion.
"""

import argparse
from pathlib import Path

import numpy as np

from atrous import Segmenter
from atrous.data.dataset import open_dataset
from atrous.data.samples import read_label_map
from atrous.evaluation.metrics import ConfusionMatrix
from atrous.labelmap import connected_regions, remove_small_regions
from atrous.labelmap.regions import DEFAULT_MIN_REGION, default_min_region
from atrous.segmenter.batch import segmented

SIZES = (0, 10, 30, 100, 300)


def main():
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("voc", type=Path)
    parser.add_argument("--list", default="val785")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    dataset = open_dataset(options.voc)
    samples = dataset.read(options.list).samples
    if options.limit:
        samples = samples[:: max(1, len(samples) // options.limit)]
    scores = {size: ConfusionMatrix(len(dataset.classes)) for size in SIZES}
    regions = {size: [] for size in SIZES}
    with_crf = Segmenter(min_region=0)
    for done in segmented(with_crf, samples, read=lambda sample: sample.image):
        if done.error is not None:
            raise done.error
        labels, truth = done.made.labels, read_label_map(done.item)
        for size in SIZES:
            least = round(size * default_min_region(labels.shape) / DEFAULT_MIN_REGION)
            cleaned = remove_small_regions(labels, least)
            scores[size].add(truth, cleaned)
            regions[size].append(connected_regions(cleaned).max() + 1)
    print(f"{len(samples)} images of {options.list}\n")
    print("| smallest region | regions an image, median | mean IoU | pixel accuracy |\n|---:|---:|---:|---:|")
    for size, matrix in scores.items():
        found = f"| {size or 'all'} | {np.median(regions[size]):.0f} | {100 * matrix.mean_iou():.2f} %"
        print(f"{found} | {100 * matrix.pixel_accuracy():.2f} % |")


if __name__ == "__main__":
    main()

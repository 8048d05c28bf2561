"""Scores and numbers of regions without and with the removal of small regions.

    python benchmarks/regions.py VOC [--list val785] [--limit N]
    python benchmarks/regions.py VOC --list names.txt --crf 5,65,4 5,40,4

The bundled model on images of a VOC folder, with its own CRF or with others. A CRF is given by the weight, sxy and srgb
of its bilateral kernel; its spatial kernel has weight 3 and sxy 3. Sizes are of an image of 513 x 513 pixels; other
images are in proportion.
"""

import argparse
from pathlib import Path

import numpy as np

from atrous import Segmenter
from atrous.data import CrfParameters
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
    parser.add_argument("--crf", nargs="+", default=["model"], metavar="WEIGHT,SXY,SRGB")
    options = parser.parse_args()
    dataset = open_dataset(options.voc)
    samples = dataset.read(options.list).samples
    if options.limit:
        samples = samples[:: max(1, len(samples) // options.limit)]
    crfs = {crf: Segmenter(crf=parameters(crf), min_region=0) for crf in options.crf}
    scores = {(crf, size): ConfusionMatrix(len(dataset.classes)) for crf in crfs for size in SIZES}
    regions = {key: [] for key in scores}
    for done in segmented(Segmenter(crf=None, min_region=0), samples, read=lambda sample: sample.image):
        if done.error is not None:
            raise done.error
        truth = read_label_map(done.item)
        for crf, segmenter in crfs.items():
            labels = segmenter.refine(done.made.image, done.made.probabilities).argmax(axis=0).astype(np.uint8)
            for size in SIZES:
                least = round(size * default_min_region(labels.shape) / DEFAULT_MIN_REGION)
                cleaned = remove_small_regions(labels, least)
                scores[crf, size].add(truth, cleaned)
                regions[crf, size].append(connected_regions(cleaned).max() + 1)
    print(f"{len(samples)} images of {options.list}\n")
    print("| CRF | smallest region | regions an image, median | mean IoU | pixel accuracy |\n|---|---:|---:|---:|---:|")
    for (crf, size), matrix in scores.items():
        found = f"| {crf} | {size or 'all'} | {np.median(regions[crf, size]):.0f} | {100 * matrix.mean_iou():.2f} %"
        print(f"{found} | {100 * matrix.pixel_accuracy():.2f} % |")


def parameters(crf):
    """Return the parameters of an option's value; "model" stands for the model's own."""
    if crf == "model":
        return crf
    weight, sxy, srgb = map(float, crf.split(","))
    return CrfParameters(weight=weight, sxy=sxy, srgb=srgb)


if __name__ == "__main__":
    main()

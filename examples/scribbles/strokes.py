"""Strokes as training labels: a data set whose label maps are thinned to what a person would scribble.

Each connected region of a class becomes one stroke, by a rule without chance. A region that is taller than wide is
walked row by row, another column by column. Each row has one point: the one farthest from the region's outline, or the
middle one of several. The points whose distance is at least half of the region's largest one stay, 3 pixels thick. All
other pixels are void. The result has the layout of docs/own-data.md and trains as it is:

    pip install scipy
    python strokes.py VOC2012 strokes --list train_aug
    atrous train strokes --out runs/partial --weights vgg16.pth --recipe cpu
    atrous train strokes --out runs/with-crf-loss --weights vgg16.pth --recipe cpu --crf-loss 0.2
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from atrous.data import open_dataset, read_pair
from atrous.errors import InputError
from atrous.labelmap import VOID, connected_regions, write_labels

SMALLEST = 200  # region that gets a stroke, in pixels


def strokes(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Thin a label map to one stroke per region.

    Parameters
    ----------
    labels : (H, W) uint8
        Label ids; 255 is void.

    Returns
    -------
    (H, W) uint8
        The label at the strokes, else 255.
    """
    thin = np.full_like(labels, VOID)
    regions = connected_regions(labels)
    for region, (rows, columns) in enumerate(ndimage.find_objects(regions + 1)):
        inside = regions[rows, columns] == region
        label = labels[rows, columns][inside][0]
        if label == VOID or inside.sum() < SMALLEST:
            continue
        # The pixels around the region, those outside of the image included, have the distance 0.
        distance = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        axis = 1 if inside.shape[0] > inside.shape[1] else 0
        off_middle = np.abs(np.indices(inside.shape)[axis] - (inside.shape[axis] - 1) / 2)
        points = np.zeros_like(inside)
        np.put_along_axis(points, (distance - 1e-6 * off_middle).argmax(axis, keepdims=True), True, axis)
        points &= distance >= distance.max() / 2
        thick = ndimage.binary_dilation(points, np.ones((3, 3))) & inside
        thin[rows, columns][thick] = label
    return thin


def write_strokes(source: Path, out: Path, name: str) -> None:
    """Write a data set `out` with the strokes of a list of `source`."""
    data = open_dataset(source)
    listed = data.read(name)
    if out.exists():
        raise InputError(f"{out}: exists; choose a new folder, or delete it")
    for folder in ("images", "labels", "lists"):
        (out / folder).mkdir(parents=True)
    known = labeled = 0
    for sample in listed.samples:
        labels = read_pair(sample)[1]
        thin = strokes(labels)
        write_labels(out / "labels" / f"{sample.name}.png", thin, data.palette)
        (out / "images" / sample.image.name).symlink_to(sample.image.resolve())
        known += int((thin != VOID).sum())
        labeled += int((labels != VOID).sum())
    (out / "lists" / "train.txt").write_text("".join(f"{sample.name}\n" for sample in listed.samples))
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in data.classes))
    print(f"{len(listed)} images; {known / labeled:.1%} of their labeled pixels are strokes")


def main() -> None:
    """Run the command. Print errors as one line and exit with status 2."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="Data set with label maps, for example VOC2012.")
    parser.add_argument("out", type=Path, help="New folder.")
    parser.add_argument("--list", default="train_aug", help="List of images.")
    given = parser.parse_args()
    try:
        write_strokes(given.data, given.out, given.list)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()

"""CRF on a 3-D volume with anisotropic voxels: it removes the noise from a classifier's labels.

python examples/crf/volume.py [--out slices.png]

The scan is synthetic: an organ with a thin vessel beside it, on voxels of 1 x 1 x 3 mm. The classifier uses the
intensity of each voxel alone, so its labels are noisy. The script prints the share of correct voxels per label.
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import atrous
from atrous.crf import Bilateral, Spatial

SPACING = (1.0, 1.0, 3.0)  # millimeters along x, y, z
SHAPE = (28, 96, 96)  # (D, H, W): slices, rows, columns
INTENSITIES = (0.0, 100.0, 160.0)  # of background, organ, vessel
NOISE = 30.0


def draw_labels() -> NDArray[np.uint8]:
    """Return the labels of an ellipsoid (1) and a curved tube beside it (2), (D, H, W)."""
    z, y, x = (axis * step for axis, step in zip(np.indices(SHAPE), SPACING[::-1], strict=True))
    labels = np.zeros(SHAPE, np.uint8)
    labels[((x - 40) / 26) ** 2 + ((y - 48) / 34) ** 2 + ((z - 42) / 30) ** 2 < 1] = 1
    labels[(x - 80 - 5 * np.sin(z / 9)) ** 2 + (y - 50 - 8 * np.cos(z / 15)) ** 2 < 4.5**2] = 2
    return labels


def classify(volume: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return probabilities from each voxel's intensity, (C, D, H, W): a Gaussian around each label's intensity."""
    distances = np.stack([(volume - mean) / NOISE for mean in INTENSITIES])
    likelihoods = np.exp(-0.5 * distances**2)
    return (likelihoods / likelihoods.sum(axis=0)).astype(np.float32)


def main() -> None:
    """Print the accuracy before and after the CRF; with --out, save a slice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="Image file for the middle slice: scan, classifier, CRF, truth.")
    out = parser.parse_args().out
    truth = draw_labels()
    rng = np.random.default_rng(0)
    volume = (np.array(INTENSITIES)[truth] + rng.normal(0, NOISE, SHAPE)).astype(np.int16)
    probabilities = classify(volume)

    def millimeters(sigma: float) -> tuple[float, ...]:
        return tuple(sigma / step for step in SPACING)  # in voxels, x first

    kernels = [
        Spatial(weight=4, sxy=millimeters(1.5)),
        Bilateral(weight=3, sxy=millimeters(6), srgb=2 * NOISE),
    ]
    crf = atrous.DenseCRF(volume, kernels, tolerance=0.01)
    inference = crf.infer(probabilities)

    alone = probabilities.argmax(axis=0)
    print(f"{volume.shape} voxels of {SPACING} mm, {inference.steps} steps")
    print("                correct, all   background   organ   vessel")
    for name, labels in {"classifier": alone, "with the CRF": inference.labels}.items():
        of_each = [np.mean(labels[truth == label] == label) for label in range(3)]
        print(f"{name:15} {np.mean(labels == truth):12.1%}" + "".join(f"{share:10.1%}" for share in of_each))
    if out:
        middle = SHAPE[0] // 2
        slices = [
            np.clip(volume[middle], 0, 255),
            *(100 * labels[middle] for labels in (alone, inference.labels, truth)),
        ]
        Image.fromarray(np.hstack(slices).astype(np.uint8)).resize((4 * 288, 288), Image.Resampling.NEAREST).save(out)


if __name__ == "__main__":
    main()

"""CRF on color and depth: depth separates an object that has the same color as its background.

python examples/crf/rgbd.py [--out labels.png]

The scene is synthetic: a beige box in front of a wall of the same beige, with a measured depth per pixel. The network's
scores have an eighth of the image's size. The script prints the share of correct pixels.
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import atrous
from atrous.crf import Bilateral, Spatial

HEIGHT, WIDTH = 240, 320


def draw_scene(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return red, green, blue (0 to 255) and depth in meters, (H, W, 4), and the true labels, (H, W)."""
    y, x = np.indices((HEIGHT, WIDTH))
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)  # the wall
    labels[y > 170] = 1  # the floor
    labels[(abs(x - 140) + 0.3 * (y - 130) < 60) & (y > 70) & (y < 205)] = 2  # the box
    colors = np.array([[205, 190, 160], [120, 80, 60], [205, 190, 160]], np.float32)
    scene = np.empty((HEIGHT, WIDTH, 4), np.float32)
    light = 1 - 0.15 * x / WIDTH
    scene[..., :3] = colors[labels] * light[..., None] + rng.normal(0, 4, (HEIGHT, WIDTH, 3))
    floor = 3.0 - 1.4 * (y - 170) / (HEIGHT - 170)
    scene[..., 3] = np.select([labels == 2, labels == 1], [2.0, floor], 3.0) + rng.normal(0, 0.02, (HEIGHT, WIDTH))
    return scene, labels


def coarse_scores(labels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return probabilities like a network's with stride 8, (C, H, W): the labels with noise and blurred edges."""
    planes = []
    for label in range(3):
        share = Image.fromarray((labels == label).astype(np.float32)).resize((WIDTH // 8, HEIGHT // 8))
        noisy = np.asarray(share) * 3 + rng.normal(0, 1.1, (HEIGHT // 8, WIDTH // 8)).astype(np.float32)
        planes.append(np.asarray(Image.fromarray(noisy).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)))
    exponentials = np.exp(planes)
    return exponentials / exponentials.sum(axis=0)


def main() -> None:
    """Print the accuracy without a CRF, with color, and with color and depth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="Image file for the labels, in the order of the printed rows.")
    out = parser.parse_args().out
    rng = np.random.default_rng(0)
    scene, truth = draw_scene(rng)
    probabilities = coarse_scores(truth, rng)

    spatial = Spatial(weight=1, sxy=3)
    color = Bilateral(weight=5, sxy=40, srgb=10)
    color_and_depth = Bilateral(weight=5, sxy=40, srgb=(10, 10, 10, 0.1))  # the last one in meters
    found = {
        "network alone": probabilities.argmax(axis=0),
        "color": atrous.DenseCRF(scene[..., :3], [spatial, color]).labels(probabilities),
        "color and depth": atrous.DenseCRF(scene, [spatial, color_and_depth]).labels(probabilities),
    }
    for name, labels in found.items():
        print(f"{name:17} {np.mean(labels == truth):.1%} correct, of the box {np.mean(labels[truth == 2] == 2):.1%}")
    if out:
        Image.fromarray(np.hstack([100 * labels for labels in found.values()]).astype(np.uint8)).save(out)


if __name__ == "__main__":
    main()

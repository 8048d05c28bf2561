"""Effect of tiling on labels and probabilities compared with the whole image, and the memory that it takes.

    python benchmarks/tiles.py                       # 4 megapixels, tiles against the whole
    python benchmarks/tiles.py --megapixels 16       # from files into a file: time and peak memory
    python benchmarks/tiles.py --megapixels 100 --labels-only

The image is an enlarged example image with noise, with the bundled network's probabilities of its 21 labels. The
kernels are those of DeepLab-LargeFOV (sxy=121), with another width if --sxy is given. Larger images repeat the 4
megapixels. Their probabilities are a float16 file, and a separate process runs the inference.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import atrous
from atrous.crf import Bilateral, DenseCRF, Spatial
from atrous.image_io.decode import read_image

EXAMPLES = Path(__file__).parents[1] / "examples"
SIDE = 2000
LABELS = 21
NEAR = 8  # pixels from a tile border


def kernels(sxy):
    """Return DeepLab-LargeFOV's kernels with another width of the bilateral one."""
    return (Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=sxy, srgb=5))


def scene(name):
    """Return an enlarged image with noise and the network's probabilities at each pixel."""
    small = read_image(EXAMPLES / f"{name}.jpg")
    rng = np.random.default_rng(0)
    image = np.asarray(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) + rng.normal(
        size=(SIDE, SIDE, 3)
    ) * (3, 3, 3)
    planes = atrous.Segmenter(crf=None)(small).probabilities
    upsampled = [np.asarray(Image.fromarray(plane).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for plane in planes]
    probabilities = np.stack(upsampled)
    return np.clip(image, 0, 255).astype(np.uint8), probabilities / probabilities.sum(axis=0)


def near_cuts(tile):
    """Return a mask of the pixels near a border between tiles."""
    count = -(-SIDE // tile)
    near = np.zeros((SIDE, SIDE), bool)
    for border in (SIDE * k // count for k in range(1, count)):
        near[border - NEAR : border + NEAR] = near[:, border - NEAR : border + NEAR] = True
    return near


def print_seams(names, sxy, tiles, sigmas):
    """Print the difference between tiles and the whole image."""
    print(f"{SIDE} x {SIDE}, {LABELS} labels, sxy={sxy:g}")
    print(
        f"{'image':14s}{'tile':>6s}{'overlap':>9s}{'labels':>9s}{'near cuts':>11s}{'mean |dQ|':>11s}{'max':>7s}"
        f"{'s':>7s}"
    )
    for name in names:
        image, p = scene(name)
        start = time.perf_counter()
        whole = DenseCRF(image, kernels(sxy))(p)
        labels = whole.argmax(axis=0)
        print(f"{name:14s}{'whole':>6s}{'':47s}{time.perf_counter() - start:7.1f}")
        for tile in tiles:
            near = near_cuts(tile)
            for sigma in sigmas:
                start = time.perf_counter()
                q = DenseCRF(image, kernels(sxy), tile=tile, overlap=round(sigma * sxy))(p)
                took = time.perf_counter() - start
                wrong = q.argmax(axis=0) != labels
                difference = np.abs(q - whole)
                print(
                    f"{'':14s}{tile:6d}{sigma:3d} sigma{100 * wrong.mean():9.4f}%{100 * wrong[near].mean():10.4f}%"
                    f"{difference.mean():11.1e}{difference.max():7.3f}{took:7.1f}",
                    flush=True,
                )


def print_memory(megapixels, sxy, tile, labels_only):
    """Write a large image and its probabilities to files, and print time and memory of a separate process."""
    side = round((megapixels * 1e6) ** 0.5)
    image, p = scene("astronaut")
    with tempfile.TemporaryDirectory() as folder:
        shapes = {"image": (side, side, 3), "unary": (LABELS, side, side)}
        large = np.memmap(f"{folder}/image", np.uint8, "w+", shape=shapes["image"])
        unary = np.memmap(f"{folder}/unary", np.float16, "w+", shape=shapes["unary"])
        for top in range(0, side, SIDE):
            for left in range(0, side, SIDE):
                rows, columns = slice(top, top + SIDE), slice(left, left + SIDE)
                height, width = large[rows, columns].shape[:2]
                large[rows, columns] = image[:height, :width]
                unary[:, rows, columns] = p[:, :height, :width]
        arguments = [folder, str(side), str(sxy), str(tile), "labels" if labels_only else "q"]
        done = subprocess.run(
            [sys.executable, __file__, "--infer", *arguments], check=True, capture_output=True, text=True
        )
    print(
        f"{side} x {side}, {LABELS} labels, sxy={sxy:g}, tiles of {tile}, {arguments[-1]} into a file:"
        f" {done.stdout.strip()}"
    )


def infer(folder, side, sxy, tile, output):
    """Infer from files into a file; print time and peak memory."""
    side, sxy, tile = int(side), float(sxy), int(tile)
    image = np.memmap(f"{folder}/image", np.uint8, "r", shape=(side, side, 3))
    unary = np.memmap(f"{folder}/unary", np.float16, "r", shape=(LABELS, side, side))
    start = time.perf_counter()
    crf = DenseCRF(image, kernels(sxy), tile=tile)
    if output == "labels":
        crf.labels(unary, out=np.memmap(f"{folder}/labels", np.uint8, "w+", shape=(side, side)))
    else:
        crf(unary, out=np.memmap(f"{folder}/q", np.float16, "w+", shape=unary.shape))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{time.perf_counter() - start:.0f} s, peak {high_water():.2f} GiB (getrusage {peak:.2f})")


def high_water():
    """Return this process' peak resident memory in GiB. The value of getrusage may include the parent's peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20


def main():
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", nargs="+", default=["astronaut", "cat", "photographer"])
    parser.add_argument("--sxy", type=float, default=121)
    parser.add_argument("--tile", type=int, nargs="+", default=[1024])
    parser.add_argument("--overlap", type=int, nargs="+", default=[1, 2, 3], help="in standard deviations")
    parser.add_argument("--megapixels", type=float)
    parser.add_argument("--labels-only", action="store_true")
    parser.add_argument("--infer", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.infer:
        infer(*options.infer)
    elif options.megapixels:
        print_memory(options.megapixels, options.sxy, options.tile[0], options.labels_only)
    else:
        print_seams(options.photos, options.sxy, options.tile, options.overlap)


if __name__ == "__main__":
    main()

"""Error of the CRF on a lattice against the exact mean field, with time and memory for each level of accuracy.

    python benchmarks/accuracy.py [--seeds 4] [--rounds 5]

Accuracy: 64 x 64 pixels of each example image, 5 labels, kernels w1=4 sxy=49 srgb=5 and w2=3 sxy=3, ten steps; each
figure is the mean over random probabilities from several seeds. Time and memory: the same kernels on the whole images
at 375 x 500 with 21 labels and no pruning. The tables include pydensecrf if it is installed.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from atrous.crf import DenseCRF, exact
from atrous.image_io.decode import read_image
from crf import processor
from crf_inputs import HEIGHT, KERNELS, WIDTH

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "crf"))
from scenes import blurred_regions

try:
    import pydensecrf.densecrf as pydensecrf
except ImportError:
    pydensecrf = None

CROPS = {"cat": (100, 150), "astronaut": (58, 185), "photographer": (60, 180)}
FILTERINGS = ("lattice", "fine")
NORMALIZATIONS = ("after", "none", "before", "symmetric")
EXAMPLES = Path(__file__).parents[1] / "examples"


def crop(name):
    """Return 64 x 64 pixels of an example image."""
    top, left = CROPS[name]
    return np.ascontiguousarray(read_image(EXAMPLES / f"{name}.jpg")[top : top + 64, left : left + 64])


def infer_pydensecrf(image, kernels, probabilities, normalization):
    """Return pydensecrf's marginals."""
    labels, height, width = probabilities.shape
    crf = pydensecrf.DenseCRF2D(width, height, labels)
    energies = -np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    crf.setUnaryEnergy(np.ascontiguousarray(energies.reshape(labels, -1)))
    how = "NO_NORMALIZATION" if normalization == "none" else f"NORMALIZE_{normalization.upper()}"
    for kernel in kernels:
        options = {"compat": float(kernel.weight), "normalization": getattr(pydensecrf, how), "sxy": kernel.sxy}
        if hasattr(kernel, "srgb"):
            crf.addPairwiseBilateral(srgb=kernel.srgb, rgbim=image, **options)
        else:
            crf.addPairwiseGaussian(**options)
    return np.array(crf.inference(10)).reshape(probabilities.shape)


def rows():
    """Return the methods to compare: name and function (image, kernels, probabilities, normalization) -> Q."""
    found = {"pydensecrf": infer_pydensecrf} if pydensecrf is not None else {}
    for filtering in FILTERINGS:
        found[f'filtering="{filtering}"'] = lambda image, kernels, p, normalization, filtering=filtering: DenseCRF(
            image, kernels, normalization=normalization, filtering=filtering
        )(p)
    return found


def print_accuracy(title, kernels, normalization, seeds):
    """Print mean |dQ| and the share of changed labels for each crop."""
    print(f"\n{title:32s}" + "".join(f"{name:>22s}" for name in CROPS))
    cases = {}
    for name in CROPS:
        image = crop(name)
        maps = [blurred_regions(image, np.random.default_rng(7 + 100 * seed)) for seed in range(seeds)]
        cases[name] = image, [(p, exact(image, kernels, p, normalization=normalization)) for p in maps]
    for row, infer in rows().items():
        cells = []
        for image, pairs in cases.values():
            found = [infer(image, kernels, p, normalization) for p, _ in pairs]
            error = np.mean([np.abs(q - truth).mean() for q, (_, truth) in zip(found, pairs, strict=True)])
            differ = np.mean([(q.argmax(0) != t.argmax(0)).mean() for q, (_, t) in zip(found, pairs, strict=True)])
            cells.append(f"{error:.2e}, {100 * differ:.2f} %")
        print(f"{row:32s}" + "".join(f"{cell:>22s}" for cell in cells))


def example(name):
    """Return an example image at the size of the timings."""
    return np.array(Image.fromarray(read_image(EXAMPLES / f"{name}.jpg")).resize((WIDTH, HEIGHT)))


def scores(labels):
    """Return random probabilities. Nothing is pruned, so the time does not depend on them."""
    p = np.random.default_rng(0).random((labels, HEIGHT, WIDTH), np.float32)
    return p / p.sum(axis=0)


def print_times(rounds):
    """Print the fastest set-up and step of several rounds, and the peak memory."""
    print(f"\n{HEIGHT} x {WIDTH}, 21 labels, ms        set-up   a step   ten steps   memory, MiB")
    p = scores(21)
    for name in CROPS:
        image = example(name)
        for filtering in FILTERINGS:
            times = []
            for _ in range(rounds):
                start = time.perf_counter()
                crf = DenseCRF(image, KERNELS, filtering=filtering, prune=0)
                ready = time.perf_counter()
                crf(p)
                times.append((ready - start, time.perf_counter() - ready))
            setup, steps = (1e3 * min(column) for column in zip(*times, strict=True))
            memory = subprocess.run(
                [sys.executable, __file__, "--memory", name, filtering], check=True, capture_output=True, text=True
            ).stdout
            print(f"{name:14s}{filtering:16s}{setup:9.0f}{steps / 10:9.1f}{setup + steps:12.0f}{memory.strip():>14s}")


def print_memory(name, filtering):
    """Print the increase of this process' peak memory during the CRF, in MiB."""
    image, p = example(name), scores(21)
    before = peak()
    DenseCRF(image, KERNELS, filtering=filtering, prune=0, iterations=1)(p)
    print(f"{(peak() - before) / 1024:.0f}")


def peak():
    """Return this process' peak resident memory in KiB. The value of getrusage includes the parent's peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", nargs=2, metavar=("IMAGE", "FILTERING"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print_memory(*options.memory)
        return
    print(f"{processor()}, {os.cpu_count()} processors")
    print("Against the exact mean field: mean |dQ|, changed labels")
    for normalization in NORMALIZATIONS:
        print_accuracy(f"normalization={normalization!r}", KERNELS, normalization, options.seeds)
    print_accuracy("bilateral alone, 'after'", KERNELS[1:], "after", options.seeds)
    print_times(options.rounds)


if __name__ == "__main__":
    main()

"""Time the fully connected CRF, beside pydensecrf where that is installed.

    python benchmarks/crf.py [--rounds 7] [--iterations 10]

The example photographs at 375 x 500, the kernels w1=4 sxy=49 srgb=5 and w2=3 sxy=3, ten steps.
The runs of all rows alternate, so that a change in the machine's load meets all of them; medians are printed.
"""

import argparse
import os
import platform
import statistics
import time
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from atrous import _native
from atrous.crf import Bilateral, DenseCRF, Spatial
from atrous.data.images import read_image

try:
    import pydensecrf.densecrf as pydensecrf
except ImportError:
    pydensecrf = None

HEIGHT, WIDTH = 375, 500
EXAMPLES = Path(__file__).parents[1] / "examples"
KERNELS = (Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=49, srgb=5))


def processor():
    """Return the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def probabilities(labels, rng):
    """Return what a network could say: blurred blocks of labels, each pixel with some noise."""
    coarse = rng.normal(size=(labels, HEIGHT // 40 + 1, WIDTH // 40 + 1)) * 3
    scores = np.repeat(np.repeat(coarse, 40, axis=1), 40, axis=2)[:, :HEIGHT, :WIDTH]
    scores = scores + rng.normal(size=scores.shape) * 0.3
    exponentials = np.exp(scores - scores.max(axis=0))
    return (exponentials / exponentials.sum(axis=0)).astype(np.float32)


def time_atrous(image, unary, threads, iterations):
    """Return seconds of set-up, of the steps alone, and of the whole."""
    start = time.perf_counter()
    crf = DenseCRF(image, KERNELS, iterations=iterations, threads=threads)
    ready = time.perf_counter()
    crf(unary)
    end = time.perf_counter()
    return ready - start, end - ready, end - start


def time_pydensecrf(image, unary, iterations):
    """Do the same with pydensecrf: unary to labels' probabilities."""
    start = time.perf_counter()
    labels = unary.shape[0]
    crf = pydensecrf.DenseCRF2D(WIDTH, HEIGHT, labels)
    energies = -np.log(np.maximum(unary, np.finfo(np.float32).tiny)).reshape(labels, -1)
    crf.setUnaryEnergy(np.ascontiguousarray(energies))
    crf.addPairwiseGaussian(sxy=3, compat=3, normalization=pydensecrf.NORMALIZE_AFTER)
    crf.addPairwiseBilateral(sxy=49, srgb=5, rgbim=image, compat=4, normalization=pydensecrf.NORMALIZE_AFTER)
    ready = time.perf_counter()
    np.array(crf.inference(iterations))
    end = time.perf_counter()
    return ready - start, end - ready, end - start


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--labels", type=int, nargs="+", default=[21, 2])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--photos", type=Path, nargs="+", default=[EXAMPLES / "cat.jpg", EXAMPLES / "astronaut.jpg"])
    options = parser.parse_args()

    print(f"{processor()}, {os.cpu_count()} processors, instruction set {_native.instruction_set()}")
    print(f"{HEIGHT} x {WIDTH}, {options.iterations} steps, medians of {options.rounds} runs, milliseconds")
    rng = np.random.default_rng(0)
    for labels in options.labels:
        unary = probabilities(labels, rng)
        for photo in options.photos:
            image = np.array(Image.fromarray(read_image(photo)).resize((WIDTH, HEIGHT)))
            rows = {}
            for n in options.threads:
                name = f"atrous, {n} thread{'s' * (n > 1)}"
                rows[name] = partial(time_atrous, image, unary, n, options.iterations)
            if pydensecrf is not None:
                rows["pydensecrf"] = partial(time_pydensecrf, image, unary, options.iterations)
            times = {name: [] for name in rows}
            for _ in range(options.rounds):
                for name, run in rows.items():
                    times[name].append(run())
            print_table(f"{photo.stem}, {labels} labels", times, options.iterations)


def print_table(title, times, iterations):
    """Print the medians of each row, and how many times as long the peer took in the same round."""
    print(f"\n{title:24s} set-up   a step    whole   pydensecrf / this")
    for name, runs in times.items():
        setup, steps, whole = (1e3 * statistics.median(column) for column in zip(*runs, strict=True))
        ratio = ""
        if "pydensecrf" in times:
            pairs = zip(times["pydensecrf"], runs, strict=True)
            ratio = f"{statistics.median(peer[2] / own[2] for peer, own in pairs):17.1f}x"
        print(f"{name:22s} {setup:8.1f} {steps / iterations:8.1f} {whole:8.1f} {ratio}")


if __name__ == "__main__":
    main()

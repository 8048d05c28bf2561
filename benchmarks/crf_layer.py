"""Measure the CRF layer and the CRF losses: time and memory of forward and backward passes.

    python benchmarks/crf_layer.py [--runs N] [--write]

A photo of 321 x 321 pixels, 21 labels, 10 mean-field steps, on the CPU. --write inserts the table into docs/layer.md.
"""

import argparse
import gc
import statistics
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from atrous.crf import Bilateral
from atrous.meanfield import DenseCRFLayer, DenseCRFLoss, GatedCRFLoss, gaussian_filter
from atrous.meanfield.filters import product
from atrous.meanfield.lattice import Lattice
from crf_inputs import ROOT
from pages import insert
from segment import processor

PAGE = ROOT / "docs" / "layer.md"
BEGIN = "<!-- written by benchmarks/crf_layer.py -->"
SIDE, LABELS = 321, 21
PRESET = "deeplab-largefov"


def scene():
    """Return logits, smooth as a network's, and the photo, each a batch of one."""
    photo = Image.open(ROOT / "examples" / "cat.jpg").convert("RGB").resize((SIDE, SIDE))
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float()
    coarse = 3 * torch.randn(1, LABELS, 41, 41, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=True), image


def cases(logits, image):
    """Yield (title, function of logits): each returns a tensor to differentiate."""
    for filtering in ("lattice", "fine"):
        layer = DenseCRFLayer(PRESET, labels=LABELS, filtering=filtering)
        yield f'`DenseCRFLayer`, "{filtering}"', lambda given, layer=layer: layer(given, image)
    matrices = DenseCRFLayer(PRESET, labels=LABELS, weights="matrix", compatibility="matrix")
    yield '`DenseCRFLayer`, "lattice", matrices learned', lambda given: matrices(given, image)
    widths = DenseCRFLayer(PRESET, labels=LABELS, learn=("weights", "sxy", "srgb"))
    yield '`DenseCRFLayer`, "lattice", sxy and srgb learned', lambda given: widths(given, image)
    dense = DenseCRFLoss([Bilateral(weight=1, sxy=100, srgb=15)])
    yield "`DenseCRFLoss`", lambda given: dense(given.softmax(1), image)
    half = DenseCRFLoss([Bilateral(weight=1, sxy=100, srgb=15)], scale=0.5)
    yield "`DenseCRFLoss`, scale=0.5", lambda given: half(given.softmax(1), image)
    gated = GatedCRFLoss([Bilateral(weight=1, sxy=6, srgb=25)], radius=5)
    yield "`GatedCRFLoss`, radius=5", lambda given: gated(given.softmax(1), image)
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    places = torch.stack([x, y], -1).reshape(1, -1, 2) / 49
    features = torch.cat([places, image.flatten(2).transpose(1, 2) / 5], -1)
    yield "`gaussian_filter`", lambda given: gaussian_filter(features, given.flatten(2).transpose(1, 2))
    yield (
        "the lattice of other devices, built and applied",
        lambda given: product(given.flatten(2).transpose(1, 2), None, Lattice(features)),
    )


def resident():
    """Return the process' resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def measure(run, logits, runs):
    """Return the median milliseconds forward and backward, and the MiB that each further run adds."""
    forward, backward, before = [], [], None
    for turn in range(runs + 2):
        if turn == 2:  # the first runs allocate what later ones reuse
            gc.collect()
            before = resident()
        given = logits.clone().requires_grad_()
        start = time.perf_counter()
        loss = run(given).mean()
        middle = time.perf_counter()
        loss.backward()
        if turn >= 2:
            forward.append(1000 * (middle - start))
            backward.append(1000 * (time.perf_counter() - middle))
    del loss, given
    gc.collect()
    return statistics.median(forward), statistics.median(backward), (resident() - before) / runs


def main():
    """Print the table; insert it into the page on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="insert the table into docs/layer.md")
    given = parser.parse_args()
    logits, image = scene()
    lines = ["| | forward, ms | backward, ms |", "|---|---:|---:|"]
    for title, run in cases(logits, image):
        forward, backward, growth = measure(run, logits, given.runs)
        lines.append(f"| {title} | {forward:.0f} | {backward:.0f} |")
        print(lines[-1], f"{growth:+.2f} MiB a run", flush=True)
    threads = torch.get_num_threads()
    lines.append(f"\nMedians of {given.runs} runs on {threads} threads: {processor()}; PyTorch {torch.__version__}.")
    if given.write:
        insert(PAGE, BEGIN, "\n".join(lines))


if __name__ == "__main__":
    main()

"""Measure the CRF layer on a GPU against the CPU: distance of the results, and time.

    python benchmarks/crf_gpu.py [--device cuda] [--sides 161 321] [--batches 1 4 10] [--runs N]

For each size, the lattice and the exact kernel: milliseconds of one filtering and of 10 mean-field steps, forward and
backward, an image, and the largest difference of scores and gradients (relative to the largest one) from those of the
same kernel on the CPU. `--device cpu --sides 41` tries the script without a GPU.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F

from atrous.crf import PRESETS
from atrous.meanfield import DenseCRFLayer
from atrous.meanfield.filters import Exact, make_filter, product
from atrous.meanfield.lattice import Lattice
from crf_layer import LABELS, PRESET, scene
from segment import processor

MOST_EXACT = 2**17  # points: 375 x 500 takes a second


def features_of(image, device):
    """Return the bilateral kernel's features of images (B, 3, H, W), in standard deviations."""
    kernel = PRESETS[PRESET][1]
    height, width = image.shape[2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([x, y], -1).reshape(1, -1, 2).expand(len(image), -1, -1) / kernel.sxy
    return torch.cat([places, image.flatten(2).transpose(1, 2) / kernel.srgb], -1).to(device)


def milliseconds(run, device, runs):
    """Return the median time of a run, after two that warm up."""
    times = []
    for turn in range(runs + 2):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn >= 2:
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def passed(layer, logits, image):
    """Return the scores of a layer and the gradient of their mean cross-entropy with the first label."""
    logits = logits.clone().requires_grad_()
    scores = layer(logits, image)
    loss = -scores.log_softmax(1)[:, 0].mean()
    (gradient,) = torch.autograd.grad(loss, logits)
    return scores.detach(), gradient


def row(side, batch, filtering, device, runs):
    """Return a row of the table."""
    logits, image = (F.interpolate(one, size=(side, side)).expand(batch, -1, -1, -1).contiguous() for one in scene())
    layer = DenseCRFLayer(PRESET, labels=LABELS, filtering=filtering)
    on_cpu = passed(layer, logits, image)
    there = layer.to(device), logits.to(device), image.to(device)
    distance = [float((one - other.cpu()).abs().max()) for one, other in zip(on_cpu, passed(*there), strict=True)]
    distance[1] /= float(on_cpu[1].abs().max())
    features = features_of(image, device)
    values = there[1].flatten(2).transpose(1, 2).softmax(-1)
    build = milliseconds(lambda: Lattice(features) if filtering == "lattice" else Exact(features), device, runs)
    made = Lattice(features) if filtering == "lattice" else make_filter(features, "exact")
    applied = milliseconds(lambda: product(values, None, made), device, runs)
    both = milliseconds(lambda: passed(*there), device, runs)
    with torch.no_grad():
        forward = milliseconds(lambda: there[0](*there[1:]), device, runs)
    cells = [f"{side} x {side}", batch, filtering, *(f"{time / batch:.2f}" for time in (build, applied, forward, both))]
    return f"| {' | '.join(map(str, cells))} | {distance[0]:.1e} | {distance[1]:.1e} |"


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--sides", type=int, nargs="+", default=[161, 321])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 10])
    parser.add_argument("--runs", type=int, default=10)
    given = parser.parse_args()
    name = torch.cuda.get_device_name(given.device) if given.device.type == "cuda" else processor()
    print(f"{name}; PyTorch {torch.__version__}; milliseconds an image, {LABELS} labels, 10 steps\n")
    print("| pixels | batch | filtering | built | filtered | forward | and backward | scores off | gradients off |")
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|")
    for side in given.sides:
        for filtering in ("lattice", "exact"):
            for batch in given.batches:
                if filtering == "lattice" or side * side <= MOST_EXACT:
                    print(row(side, batch, filtering, given.device, given.runs), flush=True)


if __name__ == "__main__":
    main()

"""Exported files of one checkpoint: size, time of the network, distance from PyTorch on the data's list val.

python benchmarks/export.py CHECKPOINT DATA MODEL.onnx... [--check 16] [--repeat 5]
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from atrous.data.choice import choose_photos
from atrous.engine import OnnxEngine
from atrous.evaluation.about import machine, versions
from atrous.evaluation.parity import compare
from atrous.network.engine import TorchEngine
from atrous.segmenter import Segmenter


def seconds(engine, repeat):
    """Return the median time of one forward pass at 513 x 385."""
    picture = np.random.default_rng(0).integers(0, 256, (385, 513, 3), dtype=np.uint8)
    engine.scores(picture)
    taken = []
    for _ in range(repeat):
        start = time.perf_counter()
        engine.scores(picture)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def distances(engine, exported, samples):
    """Return the cells of a row that tell how far a file is off."""
    parity = compare(Segmenter(engine), Segmenter(exported), samples)
    shares = (parity.relative_difference, parity.others, parity.crf_others)
    ious = [f"{100 * before:.2f}, {100 * after:.2f}" for before, after in parity.mean_iou().values()]
    return [*(f"{100 * share:.2g}" for share in shares), *ious]


def main():
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--check", type=int, default=16, help="photos of val; 0: times alone")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    engine = TorchEngine.read(arguments.checkpoint)
    exported = {path: OnnxEngine(path, device="cpu") for path in arguments.models}
    print(f"{machine()}; {versions()}; {engine.metadata.variant}", flush=True)
    size = (arguments.checkpoint / "model.safetensors").stat().st_size
    print(f"| PyTorch, float32 | {size / 1e6:.1f} | {seconds(engine, arguments.repeat):.2f} |", flush=True)
    for path, theirs in exported.items():
        taken = seconds(theirs, arguments.repeat)
        print(f"| {theirs.metadata.precision} | {path.stat().st_size / 1e6:.1f} | {taken:.2f} |", flush=True)
    if not arguments.check:
        return
    chosen, _ = choose_photos(arguments.data).some(arguments.check)
    print(f"\n{len(chosen)} photos of {chosen.name}; score off by, other labels, with CRF in %; mean IoU before, after")
    for theirs in exported.values():
        print(
            "| " + " | ".join([theirs.metadata.precision, *distances(engine, theirs, chosen.samples)]) + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()

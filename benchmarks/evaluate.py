"""Throughput of an evaluation by the number of parallel images. The scores must be equal.

    python benchmarks/evaluate.py VOC_FOLDER [--limit 24] [--workers 1 2] [--rounds 2]

Each worker has its share of the cores. The rounds alternate between the numbers of workers; the fastest one counts.
"""

import argparse
import time
from pathlib import Path

import numpy as np

import atrous
from atrous._provenance import machine
from atrous._resources import check_threads
from atrous.data.dataset import open_dataset
from atrous.evaluation.evaluator import evaluate
from atrous.evaluation.trimap import WIDTHS


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, help="a data set with the bundled model's classes")
    parser.add_argument("--limit", type=int, default=24, help="images, evenly spaced along val")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cores", type=int, default=check_threads(None))
    arguments = parser.parse_args()

    dataset = open_dataset(arguments.data)
    _, samples = dataset.read(dataset.default_evaluation_list).hold_out(arguments.limit)
    threads = {workers: max(1, arguments.cores // workers) for workers in arguments.workers}
    segmenters = {workers: atrous.Segmenter(threads=threads[workers]) for workers in arguments.workers}
    best: dict[int, float] = {}
    counts = []
    for _ in range(arguments.rounds):
        for workers, segmenter in segmenters.items():
            started = time.perf_counter()
            result = evaluate(segmenter, samples.samples, workers=workers, trimap=WIDTHS)
            rate = len(samples) / (time.perf_counter() - started)
            best[workers] = max(rate, best.get(workers, 0))
            counts.append(np.stack([result.dcnn.counts, result.crf.counts]))
    print(f"{len(samples)} images of {arguments.data.name}, network int8, CRF and trimap; {machine()}")
    for workers, rate in best.items():
        print(f"{workers} workers of {threads[workers]} threads: {rate:.2f} images per second")
    same = all((other == counts[0]).all() for other in counts)
    print("equal pixel counts in all runs" if same else "PIXEL COUNTS DIFFER between runs")


if __name__ == "__main__":
    main()

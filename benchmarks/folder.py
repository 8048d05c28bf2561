"""Throughput of the pipeline for a folder of images, the total time of each stage, and memory over many images.

    python benchmarks/folder.py speed [FOLDER] [--images N] [--model MODEL.onnx] [--engine ENGINE]
    python benchmarks/folder.py memory [--images N] [--side PIXELS] [--engine ENGINE]
    python benchmarks/folder.py start

`speed` compares processing one image at a time with the pipeline, in alternating rounds, as the machine may be shared.
`memory` segments images of many sizes and prints the resident memory at regular intervals. `start` times cold commands.
Without --engine, `speed` and `start` measure each installed engine, also alternating.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

import atrous
from atrous.backends import ENGINES
from atrous.cli.bench import _copies, _images, folder_times
from atrous.segmenter.batch import segmented
from segment import processor


def speed(arguments) -> None:
    """Print images per second, one at a time and overlapping, in three alternating rounds."""
    segmenters = {name: atrous.Segmenter(arguments.model, engine=name) for name in engines(arguments)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = (
            _images([arguments.folder])[: arguments.images] if arguments.folder else _copies(folder, arguments.images)
        )
        rounds = {name: [] for name in segmenters}
        for _ in range(arguments.rounds):
            for name, segmenter in segmenters.items():
                started = time.perf_counter()
                for file in files:
                    segmenter(file).save(folder / "plain", file.stem)
                one_by_one = len(files) / (time.perf_counter() - started)
                rounds[name].append({"one_by_one": one_by_one, **folder_times(segmenter, files, folder)})
        for name, figures in rounds.items():
            show(name, figures)


def show(name: str, rounds: list[dict]) -> None:
    """Print one engine's medians over the rounds."""

    def middle(key: str) -> float:
        return statistics.median(figures[key] for figures in rounds)

    def best(key: str) -> float:
        return max(figures[key] for figures in rounds)

    print(name)
    print(f"  one at a time: {middle('one_by_one'):.2f} images/s (best {best('one_by_one'):.2f})")
    print(f"  overlapping: {middle('images_per_second'):.2f} images/s (best {best('images_per_second'):.2f})")
    print(f"  whole relative to the slowest stage alone: {middle('pipeline_over_slowest_stage'):.2f}")
    inside = statistics.median(figures["network_seconds"] / figures["seconds"] for figures in rounds)
    print(f"  network busy: {100 * middle('network_busy'):.0f} % of the time, {inside:.2f} calls at a time on average")
    print("  stages alone, s:", {name: round(s, 2) for name, s in rounds[-1]["stages_alone"].items()})


def engines(arguments) -> list[str]:
    """Return the engines to measure."""
    if arguments.engine is not None:
        return [arguments.engine]
    return [name for name in ENGINES if find_spec(name) is not None]


def resident() -> float:
    """Return this process' resident memory in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def memory(arguments) -> None:
    """Print the resident memory after each tenth of the images."""
    rng = np.random.default_rng(0)
    with Image.open(Path(__file__).parents[1] / "examples" / "cat.jpg") as opened:
        image = opened.convert("RGB")
    segmenter = atrous.Segmenter(arguments.model, engine=arguments.engine)

    def read(_: int) -> Image.Image:
        size = sizes[_]
        return image.resize((int(size[0]), int(size[1])))

    sizes = rng.integers(arguments.side // 2, arguments.side + 1, (arguments.images, 2))
    with tempfile.TemporaryDirectory() as folder:
        results = segmented(
            segmenter, range(arguments.images), read=read, finish=lambda i, result: result.save(folder, str(i % 20))
        )
        done = 0
        while batch := list(islice(results, max(1, arguments.images // 10))):
            for result in batch:
                if result.error is not None:
                    raise result.error
            done += len(batch)
            print(f"{done:>6} images {resident():>8.0f} MiB", flush=True)


def start(arguments) -> None:
    """Print the median time of cold commands."""
    image = Path(__file__).parents[1] / "examples" / "cat.jpg"
    with tempfile.TemporaryDirectory() as folder:
        segment = ["segment", str(image), "--out", folder, "--overwrite", "--engine"]
        for command in (["--help"], *([*segment, name] for name in engines(arguments))):
            seconds = []
            for _ in range(arguments.rounds + 1):
                started = time.perf_counter()
                subprocess.run([sys.executable, "-m", "atrous", *command], check=True, capture_output=True)
                seconds.append(time.perf_counter() - started)
            print(f"atrous {' '.join([command[0], *command[5:]])}: {statistics.median(seconds[1:]):.2f} s")


def main() -> None:
    """Run one of the three measurements."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["speed", "memory", "start"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=120)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--engine", choices=ENGINES)
    arguments = parser.parse_args()
    print(processor())
    {"speed": speed, "memory": memory, "start": start}[arguments.what](arguments)


if __name__ == "__main__":
    main()

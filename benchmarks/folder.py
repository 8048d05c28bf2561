"""A folder of photos through the pipeline: photos a second, each stage's own total, and memory over many photos.

    python benchmarks/folder.py speed [FOLDER] [--photos N] [--model MODEL.onnx] [--engine ENGINE]
    python benchmarks/folder.py memory [--photos N] [--side PIXELS] [--engine ENGINE]
    python benchmarks/folder.py start

`speed` compares one photo after the other with the pipeline, in turns, as the machine may be shared. `memory` segments
photos of many sizes and prints the memory in use (resident set) along the way. `start` times cold commands. Without
--engine, `speed` and `start` take each engine that is installed, in turns too.
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
from atrous.cli.bench import _copies, _photos, folder_times
from atrous.segmenter.batch import segmented
from segment import processor


def speed(arguments) -> None:
    """Photos a second, one after the other and overlapping, three rounds in turns."""
    segmenters = {name: atrous.Segmenter(arguments.model, engine=name) for name in engines(arguments)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = (
            _photos([arguments.folder])[: arguments.photos] if arguments.folder else _copies(folder, arguments.photos)
        )
        rounds = {name: [] for name in segmenters}
        for _ in range(arguments.rounds):
            for name, segmenter in segmenters.items():
                begun = time.perf_counter()
                for file in files:
                    segmenter(file).save(folder / "plain", file.stem)
                one_by_one = len(files) / (time.perf_counter() - begun)
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
    print(f"  one after the other: {middle('one_by_one'):.2f} photos/s (best {best('one_by_one'):.2f})")
    print(f"  overlapping: {middle('photos_per_second'):.2f} photos/s (best {best('photos_per_second'):.2f})")
    print(f"  whole by the slowest stage alone: {middle('whole_by_slowest_stage'):.2f}")
    inside = statistics.median(figures["network_seconds"] / figures["seconds"] for figures in rounds)
    print(f"  a network at work: {100 * middle('network_busy'):.0f} % of the time, {inside:.2f} at a time on average")
    print("  stages alone, s:", {name: round(s, 2) for name, s in rounds[-1]["stages_alone"].items()})


def engines(arguments) -> list[str]:
    """Return the engines to measure."""
    if arguments.engine is not None:
        return [arguments.engine]
    return [name for name in ENGINES if find_spec(name) is not None]


def resident() -> float:
    """Return this process's resident memory in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def memory(arguments) -> None:
    """Resident memory every tenth of the way."""
    rng = np.random.default_rng(0)
    with Image.open(Path(__file__).parents[1] / "examples" / "cat.jpg") as opened:
        photo = opened.convert("RGB")
    segmenter = atrous.Segmenter(arguments.model, engine=arguments.engine)

    def read(_: int) -> Image.Image:
        size = sizes[_]
        return photo.resize((int(size[0]), int(size[1])))

    sizes = rng.integers(arguments.side // 2, arguments.side + 1, (arguments.photos, 2))
    with tempfile.TemporaryDirectory() as folder:
        results = segmented(
            segmenter, range(arguments.photos), read=read, finish=lambda i, result: result.save(folder, str(i % 20))
        )
        done = 0
        while batch := list(islice(results, max(1, arguments.photos // 10))):
            for result in batch:
                if result.error is not None:
                    raise result.error
            done += len(batch)
            print(f"{done:>6} photos {resident():>8.0f} MiB", flush=True)


def start(arguments) -> None:
    """Cold commands, median of `rounds`."""
    photo = Path(__file__).parents[1] / "examples" / "cat.jpg"
    with tempfile.TemporaryDirectory() as folder:
        segment = ["segment", str(photo), "--out", folder, "--overwrite", "--engine"]
        for command in (["--help"], *([*segment, name] for name in engines(arguments))):
            seconds = []
            for _ in range(arguments.rounds + 1):
                begun = time.perf_counter()
                subprocess.run([sys.executable, "-m", "atrous", *command], check=True, capture_output=True)
                seconds.append(time.perf_counter() - begun)
            print(f"atrous {' '.join([command[0], *command[5:]])}: {statistics.median(seconds[1:]):.2f} s")


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["speed", "memory", "start"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=120)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--engine", choices=ENGINES)
    arguments = parser.parse_args()
    print(processor())
    {"speed": speed, "memory": memory, "start": start}[arguments.what](arguments)


if __name__ == "__main__":
    main()

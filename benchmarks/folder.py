"""A folder of photos through the pipeline: photos a second, each stage's own total, and memory over many photos.

    python benchmarks/folder.py speed [FOLDER] [--photos N] [--model MODEL.onnx]
    python benchmarks/folder.py memory [--photos N] [--side PIXELS]
    python benchmarks/folder.py start

`speed` compares one photo after the other with the pipeline, in turns, as the machine may be shared. `memory` segments
photos of many sizes and prints the memory in use (resident set) along the way. `start` times cold commands.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

import atrous
from atrous.cli.bench import _copies, _photos, folder_times
from atrous.segmenter.pipeline import segmented
from segment import processor


def speed(arguments) -> None:
    """Photos a second, one after the other and overlapping, three rounds in turns."""
    segmenter = atrous.Segmenter(arguments.model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = (
            _photos([arguments.folder])[: arguments.photos] if arguments.folder else _copies(folder, arguments.photos)
        )
        one_by_one, overlapping, ratios = [], [], []
        for _ in range(arguments.rounds):
            begun = time.perf_counter()
            for file in files:
                segmenter(file).save(folder / "plain", file.stem)
            one_by_one.append(len(files) / (time.perf_counter() - begun))
            figures = folder_times(segmenter, files, folder)
            overlapping.append(figures["photos_per_second"])
            ratios.append(figures["whole_by_slowest_stage"])
        print(f"one after the other: {statistics.median(one_by_one):.2f} photos/s (best {max(one_by_one):.2f})")
        print(f"overlapping: {statistics.median(overlapping):.2f} photos/s (best {max(overlapping):.2f})")
        print(f"whole by the slowest stage alone: {statistics.median(ratios):.2f} (best {min(ratios):.2f})")
        print("stages alone, s:", {name: round(s, 2) for name, s in figures["stages_alone"].items()})


def resident() -> float:
    """Return this process's resident memory in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def memory(arguments) -> None:
    """Resident memory every tenth of the way."""
    rng = np.random.default_rng(0)
    with Image.open(Path(__file__).parents[1] / "examples" / "cat.jpg") as opened:
        photo = opened.convert("RGB")
    segmenter = atrous.Segmenter(arguments.model)

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
        for command in (["--help"], ["segment", str(photo), "--out", folder, "--overwrite"]):
            seconds = []
            for _ in range(arguments.rounds + 1):
                begun = time.perf_counter()
                subprocess.run([sys.executable, "-m", "atrous", *command], check=True, capture_output=True)
                seconds.append(time.perf_counter() - begun)
            print(f"atrous {command[0]}: {statistics.median(seconds[1:]):.2f} s")


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["speed", "memory", "start"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=120)
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    print(processor())
    {"speed": speed, "memory": memory, "start": start}[arguments.what](arguments)


if __name__ == "__main__":
    main()

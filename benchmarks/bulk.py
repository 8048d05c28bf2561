"""Throughput of `atrous bulk` compared with `atrous segment`, and the cost of a million images.

    python benchmarks/bulk.py [--photos N] [--rounds N]
    python benchmarks/bulk.py --plan N

The images are those in examples/, mirrored and cropped to 500 x 375, so that all differ. Each command runs in its own
process; the rounds alternate between the commands. The rate for a million images is the one that `atrous bulk` prints:
from the start of the first shard to the end of the last one, including the start of the actors. --plan measures the
time and memory before the first shard of a run of N images starts; the images are URLs that are never fetched.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from atrous.bulk import Settings, driver
from segment import processor

EXAMPLES = Path(__file__).parents[1] / "examples"
MILLION = 1_000_000

COMMANDS = {
    "atrous segment, 2 threads": ["segment", "{images}", "--out", "{out}", "--no-overlay", "--threads", "2"],
    "atrous bulk, 1 actor of 2 CPUs": ["bulk", "{images}", "{out}", "--actors", "1", "--cpus", "2"],
    "atrous bulk, 2 actors of 1 CPU": ["bulk", "{images}", "{out}", "--actors", "2", "--cpus", "1"],
}


def write_images(folder: Path, count: int) -> None:
    """Write distinct images of 500 x 375."""
    folder.mkdir(parents=True)
    originals = [Image.open(path).convert("RGB") for path in sorted(EXAMPLES.glob("*.jpg"))]
    rng = np.random.default_rng(0)
    for i in range(count):
        original = originals[i % len(originals)]
        side = rng.uniform(0.7, 1) * min(original.width / 4, original.height / 3)
        width, height = int(4 * side), int(3 * side)
        left, top = rng.integers(0, original.width - width + 1), rng.integers(0, original.height - height + 1)
        cut = original.resize((500, 375), Image.Resampling.LANCZOS, (left, top, left + width, top + height))
        if i % 2:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        cut.save(folder / f"{i:05}.jpg", quality=92)


def timed(command: list[str]) -> tuple[float, float | None]:
    """Return the duration of a command in seconds, and the images per second that it prints, or None."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "atrous", *command], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    rate = re.search(r"([\d.]+) images/s", done.stdout)
    return seconds, float(rate[1]) if rate else None


class _Planned(Exception):
    """The first shard was assigned."""


def plan(count: int) -> None:
    """Print the time and memory for listing `count` images and assigning them to shards."""

    def assign(job, model, shards, *_):
        next(iter(shards))
        raise _Planned

    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "images.txt"
        names.write_text("".join(f"http://127.0.0.1:9/{i // 1000:04}/{i:07}.jpg\n" for i in range(count)))
        driver.connected, driver.execute = lambda *_: nullcontext(1000), assign
        before, started = psutil.Process().memory_info().rss, time.perf_counter()
        try:
            driver.run(str(names), f"{folder}/out", Settings())
        except _Planned:
            seconds, held = time.perf_counter() - started, psutil.Process().memory_info().rss - before
    print(f"{processor()}; {count} images: {seconds:.0f} s and {held / 1e9:.2f} GB before the first shard")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--plan", type=int)
    arguments = parser.parse_args()
    if arguments.plan is not None:
        plan(arguments.plan)
        return
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        write_images(images, arguments.photos)
        for _ in range(arguments.rounds):
            for name, command in COMMANDS.items():
                out = Path(folder) / "out"
                seconds, rate = timed([word.format(images=images, out=out) for word in command])
                found[name].append((seconds, rate or arguments.photos / seconds))
                shutil.rmtree(out)
    print(f"{processor()}; {arguments.photos} images of 500x375, {arguments.rounds} rounds, medians\n")
    print("| | seconds, start to end | images/s | core-hours per million images |")
    print("|---|---|---|---|")
    for name, rows in found.items():
        seconds, rate = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"| {name} | {seconds:.1f} | {rate:.2f} | {2 * MILLION / rate / 3600:.0f} |")


if __name__ == "__main__":
    main()

"""Photos a second of `atrous bulk` beside `atrous segment`, and what a million photos take.

    python benchmarks/bulk.py [--photos N] [--rounds N]
    python benchmarks/bulk.py --plan N

The photos are those in examples/, mirrored and cropped to 500 x 375, so that all differ. Each command runs from its
start to its end in a process of its own; the rounds take turns. The rate that a million photos have is the one that
`atrous bulk` prints: from the start of the first shard to the end of the last one, actors' start included. With
--plan: the seconds and the memory that a run of N photos takes before its first shard is handed out; the photos are
URLs that nobody fetches.
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

from atrous.bulk import Settings, run
from segment import processor

EXAMPLES = Path(__file__).parents[1] / "examples"
MILLION = 1_000_000

COMMANDS = {
    "atrous segment, 2 threads": ["segment", "{photos}", "--out", "{out}", "--no-overlay", "--threads", "2"],
    "atrous bulk, 1 actor of 2 CPUs": ["bulk", "{photos}", "{out}", "--actors", "1", "--cpus", "2"],
    "atrous bulk, 2 actors of 1 CPU": ["bulk", "{photos}", "{out}", "--actors", "2", "--cpus", "1"],
}


def write_photos(folder: Path, count: int) -> None:
    """Write different photos of 500 x 375."""
    folder.mkdir(parents=True)
    originals = [Image.open(path).convert("RGB") for path in sorted(EXAMPLES.glob("*.jpg"))]
    rng = np.random.default_rng(0)
    for i in range(count):
        photo = originals[i % len(originals)]
        side = rng.uniform(0.7, 1) * min(photo.width / 4, photo.height / 3)
        width, height = int(4 * side), int(3 * side)
        left, top = rng.integers(0, photo.width - width + 1), rng.integers(0, photo.height - height + 1)
        cut = photo.resize((500, 375), Image.Resampling.LANCZOS, (left, top, left + width, top + height))
        if i % 2:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        cut.save(folder / f"{i:05}.jpg", quality=92)


def timed(command: list[str]) -> tuple[float, float | None]:
    """Return the seconds that a command takes, and the photos/s that it prints if it does."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "atrous", *command], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - begun
    rate = re.search(r"([\d.]+) photos/s", done.stdout)
    return seconds, float(rate[1]) if rate else None


class _Planned(Exception):
    """The first shard was handed out."""


def plan(count: int) -> None:
    """Print what it takes to list `count` photos and to assign them."""

    def hand_out(job, model, shards, *_):
        next(iter(shards))
        raise _Planned

    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "photos.txt"
        names.write_text("".join(f"http://127.0.0.1:9/{i // 1000:04}/{i:07}.jpg\n" for i in range(count)))
        before, begun = psutil.Process().memory_info().rss, time.perf_counter()
        try:
            run(str(names), f"{folder}/out", Settings(), connect=lambda *_: nullcontext(1000), execute=hand_out)
        except _Planned:
            seconds, held = time.perf_counter() - begun, psutil.Process().memory_info().rss - before
    print(f"{processor()}; {count} photos: {seconds:.0f} s before the first shard, {held / 1e9:.2f} GB held")


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
        photos = Path(folder) / "photos"
        write_photos(photos, arguments.photos)
        for _ in range(arguments.rounds):
            for name, command in COMMANDS.items():
                out = Path(folder) / "out"
                seconds, rate = timed([word.format(photos=photos, out=out) for word in command])
                found[name].append((seconds, rate or arguments.photos / seconds))
                shutil.rmtree(out)
    print(f"{processor()}; {arguments.photos} photos of 500x375, {arguments.rounds} rounds, medians\n")
    print("| | seconds, start to end | photos/s | core-hours of a million photos |")
    print("|---|---|---|---|")
    for name, rows in found.items():
        seconds, rate = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"| {name} | {seconds:.1f} | {rate:.2f} | {2 * MILLION / rate / 3600:.0f} |")


if __name__ == "__main__":
    main()

"""Photo to mask: the whole pipeline warm in Python, by stage, and as a cold command.

    python benchmarks/segment.py [PHOTO] [--runs N]

The photo is scaled to 500 x 375 (or 375 x 500), the size of most photos in PASCAL VOC.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import atrous
from atrous.data.images import read_image

EXAMPLE = Path(__file__).parents[1] / "examples" / "cat.jpg"


def processor() -> str:
    """Return the processor's name and the number of cores this process may use."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {len(names)} cores"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def median_seconds(function, runs: int) -> float:
    """Return the median time of `runs` calls, after one that is not counted."""
    function()
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        function()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photo", nargs="?", type=Path, default=EXAMPLE)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()

    original = Image.fromarray(read_image(arguments.photo))
    size = (500, 375) if original.width >= original.height else (375, 500)
    image = np.asarray(original.resize(size))
    segmenter = atrous.Segmenter()
    probabilities = segmenter.probabilities(image)

    rows = {
        "network (int8)": lambda: segmenter.engine.scores(image),
        "network, zoom, softmax": lambda: segmenter.probabilities(image),
        "CRF": lambda: segmenter.refine(image, probabilities),
        "photo to labels, warm": lambda: segmenter(image).labels,
    }
    print(f"{arguments.photo.name} at {size[0]}x{size[1]}; {processor()}; median of {arguments.runs} runs")
    for name, function in rows.items():
        print(f"{name:<36}{median_seconds(function, arguments.runs):>8.3f} s")
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        Image.fromarray(image).save(photo, quality=95)
        command = [sys.executable, "-m", "atrous", "segment", str(photo), "--out", folder, "--overwrite"]
        seconds = median_seconds(lambda: subprocess.run(command, check=True, capture_output=True), arguments.runs)
        print(f"{'atrous segment photo.jpg, cold':<36}{seconds:>8.3f} s")


if __name__ == "__main__":
    main()

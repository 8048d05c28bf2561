"""Image to mask: the whole pipeline in a warm Python process, its stages, and a cold command.

    python benchmarks/segment.py [PHOTO] [--runs N] [--engine ENGINE]

The image is resized to 500 x 375 (or 375 x 500), the size of most images in PASCAL VOC, and to the paper's 306 x 306.
Without --engine, the installed engines alternate in each run, as the machine may be shared.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

import atrous
from atrous.backends import ENGINES
from atrous.cli.bench import PAPER
from atrous.image_io.decode import read_image

EXAMPLE = Path(__file__).parents[1] / "examples" / "cat.jpg"


def processor() -> str:
    """Return the processor's name and the number of cores this process may use."""
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {len(names)} cores"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def median_seconds(function, runs: int) -> float:
    """Return the median time of `runs` calls, after a warm-up call."""
    return in_turns([function], runs)[0]


def in_turns(functions: list, runs: int) -> list[float]:
    """Return each function's median time of `runs` alternating calls, after a warm-up call."""
    times = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(runs):
        for function, taken in zip(functions, times, strict=True):
            started = time.perf_counter()
            function()
            taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photo", nargs="?", type=Path, default=EXAMPLE)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--engine", choices=ENGINES)
    arguments = parser.parse_args()

    original = Image.fromarray(read_image(arguments.photo))
    size = (500, 375) if original.width >= original.height else (375, 500)
    image = np.asarray(original.resize(size))
    frame = np.asarray(original.resize(PAPER[::-1]))
    engines = [arguments.engine] if arguments.engine else [name for name in ENGINES if find_spec(name) is not None]
    segmenters = [atrous.Segmenter(engine=name) for name in engines]
    probabilities = segmenters[0].probabilities(image)

    rows = {
        f"network (int8), {PAPER[0]}x{PAPER[1]}": lambda segmenter: segmenter.engine.scores(frame),
        "network (int8)": lambda segmenter: segmenter.engine.scores(image),
        "network, upsampling, softmax": lambda segmenter: segmenter.probabilities(image),
        "CRF": lambda segmenter: segmenter.refine(image, probabilities),
        "image to labels, warm": lambda segmenter: segmenter(image).labels,
    }
    print(f"{arguments.photo.name} at {size[0]}x{size[1]}; {processor()}; s, median of {arguments.runs} runs")
    print(f"{'':<36}" + "".join(f"{name:>14}" for name in engines))
    for name, function in rows.items():
        show(name, in_turns([partial(function, segmenter) for segmenter in segmenters], arguments.runs))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.jpg"
        Image.fromarray(image).save(path, quality=95)
        command = [sys.executable, "-m", "atrous", "segment", str(path), "--out", folder, "--overwrite", "--engine"]
        cold = [partial(subprocess.run, [*command, name], check=True, capture_output=True) for name in engines]
        show("atrous segment image.jpg, cold", in_turns(cold, arguments.runs))


def show(name: str, seconds: list[float]) -> None:
    """Print a row of the table."""
    print(f"{name:<36}" + "".join(f"{taken:>14.3f}" for taken in seconds), flush=True)


if __name__ == "__main__":
    main()

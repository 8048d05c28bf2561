"""Time and peak memory of segmenting a large photo, and the effect of a CRF at reduced size.

    python benchmarks/memory.py                    # large and labels; some 15 minutes on two cores
    python benchmarks/memory.py --only large       # or labels
    python benchmarks/memory.py --write            # insert into docs/benchmarks.md, between the markers

Images of 3000 x 4000 pixels: an enlarged example image (smooth), the same with camera noise (independent Gaussian noise
per channel; its standard deviation is in gray levels), an example image mirrored at its own scale, which has more
detail than a photo of that size, and uniform noise of 4000 x 4000. A new process segments each image, with the default
limits and with the CRF at full size (where the memory for noise permits). Labels: the CRF on means of 2 x 2 pixels
compared with that on each pixel, for noisy images of 1500 x 2000.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import atrous.segmenter.segmenter as segmenter_module
from atrous import Segmenter
from atrous.image_io.decode import read_image
from atrous.labelmap import read_labels
from pages import insert
from segment import processor

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN = "<!-- written by benchmarks/memory.py: {} -->"

LARGE, SMALL = (3000, 4000), (1500, 2000)
SIGMAS = (5, 10, 20, 30)
NAMES = ("cat", "astronaut", "photographer")

# Code for a new process, which prints the reduction, its peak memory in KiB, and the seconds for decoding and
# segmenting and for writing the outputs. The engine is warm.
CODE = """
import sys, time
from pathlib import Path
from atrous import Segmenter
segmenter = Segmenter(threads=2, **eval(sys.argv[3]))
segmenter(sys.argv[4])
start = time.perf_counter()
result = segmenter(sys.argv[1])
result.labels
middle = time.perf_counter()
result.save(sys.argv[2])
end = time.perf_counter()
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(result.reduction, status["VmHWM"].split()[0], middle - start, end - middle)
"""

WAYS = {"default": "{}", "full size": "{'max_crf_pixels': None}", "no CRF": "{'crf': None}"}


def enlarged(name, size):
    """Return an example image that covers a size (H, W), (H, W, 3) uint8."""
    image = Image.fromarray(read_image(ROOT / "examples" / f"{name}.jpg"))
    scale = max(size[1] / image.width, size[0] / image.height)
    larger = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    return np.asarray(larger)[: size[0], : size[1]]


def with_grain(image, sigma):
    """Return an image with Gaussian noise."""
    noise = np.random.default_rng(0).normal(0, sigma, image.shape).astype(np.float32)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def mirrored(name, size):
    """Return an example image at its own scale, mirrored repeatedly."""
    image = read_image(ROOT / "examples" / f"{name}.jpg")
    height, width, _ = image.shape
    return np.pad(image, ((0, size[0] - height), (0, size[1] - width), (0, 0)), mode="symmetric")


def images():
    """Yield a title and an image (H, W, 3) uint8 for each row of the table."""
    for name in ("cat", "astronaut"):
        image = enlarged(name, LARGE)
        yield f"smooth: {name}", image
        for sigma in (2, 3, *SIGMAS):
            yield f"{'ordinary' if sigma < 5 else 'noisy'}: {name}, noise of {sigma}", with_grain(image, sigma)
        yield f"textured: {name}, mirrored", mirrored(name, LARGE)
    yield "noise, uniform", np.random.default_rng(0).integers(0, 256, (4000, 4000, 3), dtype=np.uint8)


def measured(path, folder, way):
    """Segment an image file in a new process; return the CRF's reduction, peak bytes, two times and the labels."""
    command = [sys.executable, "-c", CODE, str(path), str(folder), WAYS[way], str(ROOT / "examples" / "cat.jpg")]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    mask = read_labels(folder / f"{path.stem}.png")
    return int(printed[0]), 1024 * int(printed[1]), float(printed[2]), float(printed[3]), mask


def large():
    """Measure all images; yield the rows of the table, head row first."""
    head = ["image", "no CRF: s, MB", "default: CRF on", "s", "MB", "full size: CRF on", "s", "MB", "other labels"]
    yield [*head, "writing, s"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.jpg"
        for title, image in images():
            Image.fromarray(image).save(path, quality=95)
            _, memory, seconds, _, _ = measured(path, path.parent, "no CRF")
            row = [title, f"{seconds:.1f}, {memory / 1e6:,.0f}"]
            found = []
            for way in ("default", "full size"):
                reduction, memory, seconds, writing, mask = measured(path, path.parent, way)
                found.append(mask)
                row.append("pixels" if reduction == 1 else f"{reduction} x {reduction}")
                row += [f"{seconds:.1f}", f"{memory / 1e6:,.0f}"]
            yield [*row, f"{100 * np.mean(found[0] != found[1]):.2f} %", f"{writing:.1f}"]


def labels():
    """Yield the rows of the table of labels, head row first."""
    yield ["image", "noise", "bounded against unbounded", "unbounded against clean", "bounded against clean"]
    segmenter = Segmenter()
    unbounded, bounded = (lambda *_: None), (lambda image, _: image.size // 3)
    for name in NAMES:
        image = enlarged(name, SMALL)
        segmenter_module.most_vertices = unbounded
        clean = segmenter(image).labels
        for sigma in SIGMAS:
            noisy = with_grain(image, sigma)
            found = []
            for bound in (unbounded, bounded):
                segmenter_module.most_vertices = bound
                result = segmenter(noisy)
                found.append(result.labels)
            title = "" if result.reduction > 1 else " (not reduced)"
            pairs = ((found[1], found[0]), (found[0], clean), (found[1], clean))
            yield [name + title, str(sigma), *(f"{100 * np.mean(a != b):.2f} %" for a, b in pairs)]


def printed(rows):
    """Print rows as they arrive; return them as a Markdown table."""
    lines = []
    for row in rows:
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
        if len(lines) == 1:
            lines.append("|---" * len(row) + "|")
            print(lines[-1])
    return "\n".join(lines)


def main():
    """Measure, print, and with --write update the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("large", "labels"))
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    for name, measure in (("large", large), ("labels", labels)):
        if options.only not in (None, name):
            continue
        table = f"{printed(measure())}\n\nOn {processor()}, two threads."
        if options.write:
            insert(PAGE, BEGIN.format(name), table)


if __name__ == "__main__":
    main()

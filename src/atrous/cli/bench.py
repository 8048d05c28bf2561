"""The command `atrous bench`."""

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._printable import printable
from ..errors import InputError
from .options import Device, Engine, Model, Threads
from .terminal import print_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..segmenter import Segmenter

# Size of the paper's frames (1/8 s each on a Titan GPU), and of most images in PASCAL VOC.
PAPER, VOC = (306, 306), (375, 500)


def bench(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Images or folders to measure with. Default: the bundled image."),
    ] = None,
    model: Model = None,
    threads: Threads = None,
    device: Device = None,
    engine: Engine = None,
    runs: Annotated[int, typer.Option(min=1, help="Repetitions of each step; the median is printed.")] = 5,
    images: Annotated[int, typer.Option(min=1, help="Number of images for the timing of the whole pipeline.")] = 12,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Time network, CRF and the whole pipeline on this machine."""
    from ..segmenter import Segmenter

    files = _images(paths or [])
    segmenter = Segmenter(model, threads=threads, device=device, engine=engine)
    with tempfile.TemporaryDirectory() as folder:
        if not files:
            files = _copies(Path(folder), images)
        figures = {
            "machine": machine(segmenter),
            "steps": step_times(segmenter, files[0], Path(folder), runs),
            "folder": folder_times(segmenter, files[:images], Path(folder)),
        }
    if as_json:
        print_text(json.dumps(figures, indent=2))
    else:
        _show(figures)


def machine(segmenter: "Segmenter") -> dict[str, Any]:
    """Return the properties of the machine and the software that affect the figures."""
    from .._provenance import processor, versions
    from .._resources import processors

    engine = getattr(segmenter.engine, "name", "unknown")
    library = {"pytorch": "torch"}.get(engine, engine)
    installed = versions(["atrous", library])
    return {
        "processor": processor(),
        "cores": processors(),
        "threads": segmenter.threads or processors(),
        "engine": engine,
        "device": getattr(segmenter.engine, "device", "unknown"),
        "system": platform.platform(terse=True),
        "python": installed["python"],
        "atrous": installed["atrous"],
        "engine_version": installed[library],
        "network": f"{segmenter.engine.metadata.variant}, {segmenter.engine.metadata.precision}",
    }


def step_times(segmenter: "Segmenter", image: Path, folder: Path, runs: int) -> dict[str, float]:
    """Return the median seconds of `runs` repetitions of each step, after a warm-up, with all threads."""
    import numpy as np
    from PIL import Image

    from ..image_io import read_image

    original = Image.fromarray(read_image(image))
    paper, voc = (np.asarray(original.resize(size[::-1])) for size in (PAPER, VOC))
    file = folder / "step.jpg"
    Image.fromarray(voc).save(file, quality=90)
    probabilities = segmenter.probabilities(voc)
    result = segmenter.segment(voc)
    steps: dict[str, Callable[[], object]] = {
        f"network, {PAPER[0]}x{PAPER[1]}": lambda: segmenter.engine.scores(paper),
        f"network, {VOC[0]}x{VOC[1]}": lambda: segmenter.engine.scores(voc),
        "decoding a JPEG": lambda: read_image(file),
        "network, upsampling, softmax": lambda: segmenter.probabilities(voc),
        "CRF": lambda: segmenter.refine(voc, probabilities),
        "writing mask and overlay": lambda: result.save(folder, "step"),
        "image to labels": lambda: segmenter(file).labels,
    }
    return {name: _median(step, runs) for name, step in steps.items()}


def folder_times(segmenter: "Segmenter", files: list[Path], folder: Path) -> dict[str, Any]:
    """Return the time of the whole pipeline and of each stage alone."""
    from concurrent.futures import ThreadPoolExecutor

    from ..image_io import read_image
    from ..segmenter import segmented, worker_count

    segmenter(files[0])  # warm-up
    with _timed_network(segmenter) as spans:
        started = time.perf_counter()
        for done in segmented(segmenter, files, finish=lambda file, result: result.save(folder / "out", file.stem)):
            if done.error is not None:
                raise done.error
        whole = time.perf_counter() - started

    images = [read_image(file) for file in files]
    results = [segmenter.segment(image, source=file) for image, file in zip(images, files, strict=True)]
    # Same number of workers as in the pipeline, one thread each.
    stages: dict[str, Callable[[int], object]] = {
        "decoding": lambda i: read_image(files[i]),
        "network": lambda i: segmenter.engine.scores(images[i]),
        "upsampling and CRF": lambda i: _refine(segmenter, images[i], results[i].network),
        "writing": lambda i: results[i].save(folder / "again", files[i].stem),
    }
    alone = {}
    with ThreadPoolExecutor(worker_count(segmenter.threads)) as pool:
        for name, stage in stages.items():
            started = time.perf_counter()
            list(pool.map(stage, range(len(files))))
            alone[name] = time.perf_counter() - started
    sizes = sorted(image.shape[0] * image.shape[1] for image in images)
    return {
        "images": len(files),
        "median_pixels": sizes[len(sizes) // 2],
        "seconds": whole,
        "images_per_second": len(files) / whole,
        "stages_alone": alone,
        "pipeline_over_slowest_stage": whole / max(alone.values()),
        "network_seconds": sum(end - start for start, end in spans),
        "network_busy": _covered(spans) / whole,
    }


class _TimedEngine:
    """Engine that records the times of its calls."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.metadata = engine, engine.metadata
        self.spans: list[tuple[float, float]] = []

    def scores(self, image: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        started = time.perf_counter()
        scores = self.engine.scores(image)
        self.spans.append((started, time.perf_counter()))
        return scores


@contextmanager
def _timed_network(segmenter: "Segmenter") -> Iterator[list[tuple[float, float]]]:
    """Yield a list that receives the start and end of each image's network."""
    engine = segmenter.engine
    timed = _TimedEngine(engine)
    segmenter.engine = timed
    try:
        yield timed.spans
    finally:
        segmenter.engine = engine


def _covered(spans: list[tuple[float, float]]) -> float:
    """Return the total time covered by the spans, in seconds."""
    covered, reached = 0.0, 0.0
    for started, ended in sorted(spans):
        covered += max(0.0, ended - max(started, reached))
        reached = max(reached, ended)
    return covered


def _refine(segmenter: "Segmenter", image: "NDArray[np.uint8]", network: Any) -> object:
    from ..segmenter import upsampled_probabilities

    planes = upsampled_probabilities(network.scores, network.inner, image.shape[:2], stride=network.stride)
    return planes if segmenter.crf is None else segmenter.dense_crf(image, threads=1).infer(planes)


def _median(step: Callable[[], object], runs: int) -> float:
    step()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _images(paths: list[Path]) -> list[Path]:
    from ..image_io import VIDEO_SUFFIXES
    from .jobs import images_below

    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; expected images or folders of images")
        candidates = images_below(path, path, _refuse) if path.is_dir() else [path]
        files += [file for file in candidates if file.suffix.lower() not in VIDEO_SUFFIXES]
    if paths and not files:
        raise InputError(f"{paths[0]}: expected images, got none; omit PATH to use the bundled image")
    return files


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read ({error.strerror})")


def _copies(folder: Path, count: int) -> list[Path]:
    """Write copies of the bundled image at VOC's size, every second one flipped; return their paths."""
    from PIL import Image, ImageOps

    from ..image_io import read_image

    image = Image.fromarray(read_image(Path(__file__).with_name("bench.jpg"))).resize(VOC[::-1])
    files = []
    for i in range(count):
        files.append(folder / f"{i:03d}.jpg")
        (ImageOps.mirror(image) if i % 2 else image).save(files[-1], quality=90)
    return files


def _show(figures: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    about, whole = figures["machine"], figures["folder"]
    machine = (
        f"{about['processor']}, {about['cores']} cores, {about['threads']} threads; network on {about['device']}"
        f" ({about['network']}); {about['system']}, Python {about['python']},"
        f" {about['engine']} {about['engine_version']}"
    )
    console.print(printable(machine), highlight=False, markup=False)
    steps = Table("one image, 375x500 unless stated otherwise", title_justify="left")
    steps.add_column("ms", justify="right")
    steps.add_column("per second", justify="right")
    for name, seconds in figures["steps"].items():
        steps.add_row(name, f"{1000 * seconds:.1f}", f"{1 / seconds:.1f}")
    console.print(steps)
    several = Table(f"{whole['images']} images of about {whole['median_pixels'] / 1e6:.2f} megapixels")
    several.add_column("s", justify="right")
    several.add_column("images per second", justify="right")
    several.add_row("whole pipeline", f"{whole['seconds']:.2f}", f"{whole['images_per_second']:.2f}")
    for name, seconds in whole["stages_alone"].items():
        several.add_row(f"{name} alone", f"{seconds:.2f}", f"{whole['images'] / seconds:.1f}")
    console.print(several)
    console.print(
        f"whole pipeline: {whole['pipeline_over_slowest_stage']:.2f} times its slowest stage alone;"
        f" the network was busy for {100 * whole['network_busy']:.0f} % of it",
        highlight=False,
    )

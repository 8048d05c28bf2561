"""`atrous segment`."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError

if TYPE_CHECKING:
    from ..segmenter import Segmentation


@dataclass(frozen=True)
class Job:
    """A photo and the name, relative to the output folder and without suffix, of what is made of it."""

    photo: Path
    name: Path


def segment(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Photos, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for masks and overlays.")] = Path("segmentation"),
    model: Annotated[
        Path | None, typer.Option(help="Exported .onnx or checkpoint folder instead of the bundled model.")
    ] = None,
    crf: Annotated[bool, typer.Option("--crf/--no-crf", help="Sharpen with the fully connected CRF.")] = True,
    max_side: Annotated[int, typer.Option(help="Scale larger photos down to this for the network.")] = 513,
    threads: Annotated[int | None, typer.Option(help="Default: all cores.")] = None,
    overlay: Annotated[bool, typer.Option("--overlay/--no-overlay", help="Write photo.overlay.jpg too.")] = True,
    probabilities: Annotated[bool, typer.Option(help="Write photo.probabilities.npy (float16) too.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace outputs that exist.")] = False,
) -> None:
    """Segment photos: for photo.jpg write photo.png (label ids) and photo.overlay.jpg."""
    failures = 0

    def fail(message: str) -> None:
        nonlocal failures
        failures += 1
        say(f"error: {message}", err=True)

    jobs = []
    for job in find_jobs(paths, out, fail):
        try:
            check_outputs(job, out, overlay=overlay, probabilities=probabilities, overwrite=overwrite)
            jobs.append(job)
        except InputError as error:
            fail(str(error))
    if jobs:
        from ..segmenter import Segmenter

        segmenter = Segmenter(model, crf="model" if crf else None, max_side=max_side, threads=threads)
    done = 0
    try:
        for job in _with_progress(jobs):
            begun = time.perf_counter()
            try:
                result = segmenter(job.photo)
                result.save((out / job.name).parent, job.name.name, overlay=overlay, probabilities=probabilities)
                say(report_line(job.photo, result, time.perf_counter() - begun))
            except InputError as error:
                fail(str(error))
            except OSError as error:
                fail(f"{error.filename or out / job.name}: cannot be written ({error.strerror or error})")
            except MemoryError:
                fail(f"{job.photo}: not enough memory for a photo of this size; scale it down first")
            done += 1
    except KeyboardInterrupt:
        say(f"error: interrupted after {done} of {len(jobs)} photos; what is written is whole", err=True)
        raise typer.Exit(130) from None
    if failures:
        raise typer.Exit(2)


def say(line: str, *, err: bool = False) -> None:
    """Print one line, whatever characters a file's name may hold."""
    stream = sys.stderr if err else sys.stdout
    encoding = stream.encoding or "utf-8"
    typer.echo(" ".join(line.splitlines()).encode(encoding, "backslashreplace").decode(encoding), err=err)


def check_outputs(job: Job, out: Path, *, overlay: bool, probabilities: bool, overwrite: bool) -> None:
    """Raise InputError if a job would write over a file that it should not."""
    from ..segmenter.segmentation import output_files, refuse_source

    for target in output_files((out / job.name).parent, job.name.name, overlay=overlay, probabilities=probabilities):
        refuse_source(target, job.photo)
        if target.exists() and not overwrite:
            raise InputError(f"{target}: exists; give --overwrite to replace it, or another --out")


def find_jobs(paths: list[Path], out: Path, fail: Callable[[str], None]) -> Iterator[Job]:
    """Yield a job for each photo; say by `fail` what is no photo or no folder with one."""
    from ..data.images import IMAGE_SUFFIXES

    found: dict[Path, Path] = {}  # photo -> its place below the output folder, with suffix
    seen: set[Path] = set()

    def add(photo: Path, place: Path) -> None:
        if photo.resolve() not in seen:
            seen.add(photo.resolve())
            found[photo] = place

    for path in paths:
        if path.is_dir():
            photos = photos_below(path, out)
            if not photos:
                fail(f"{path}: no photos in this folder; looked for {', '.join(sorted(IMAGE_SUFFIXES))}")
            for photo in photos:
                add(photo, photo.relative_to(path))
        elif path.exists():
            add(path, Path(path.name))
        else:
            fail(f"{path}: no such file or folder")
    stems = Counter(_lower(place.with_suffix("")) for place in found.values())
    taken: set[str] = set()
    for photo, place in found.items():
        name = place.with_suffix("") if stems[_lower(place.with_suffix(""))] == 1 else place
        if _lower(name) in taken:
            fail(f"{photo}: another photo is called {place} too; segment them into different folders (--out)")
            continue
        taken.add(_lower(name))
        yield Job(photo, name)


def photos_below(folder: Path, out: Path) -> list[Path]:
    """Return the photos in a folder and its subfolders, without what this command wrote and hidden files."""
    from ..data.images import IMAGE_SUFFIXES
    from ..palette.labels import made_here

    # An output folder inside is left out as a whole; results beside the photos are told by their headers.
    results = out.resolve() if out.resolve() != folder.resolve() else None
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not _hidden(path.relative_to(folder))
        and not (results and results.is_relative_to(folder.resolve()) and path.resolve().is_relative_to(results))
        and not made_here(path)
    )


def report_line(photo: Path, result: "Segmentation", seconds: float) -> str:
    """One line: the photo, its classes with their share of the pixels, the time it took."""
    shares = ", ".join(f"{name} {100 * share:.1f}%" for name, share in result.shares().items())
    return f"{photo}: {shares} ({seconds:.2f} s)"


def _lower(path: Path) -> str:
    # Some file systems hold Photo.png and photo.png for the same.
    return path.as_posix().lower()


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _with_progress(jobs: list[Job]) -> Iterator[Job]:
    """Yield the jobs, with a progress bar on a terminal when they are many."""
    from rich.console import Console

    console = Console(stderr=True)
    if len(jobs) < 4 or not console.is_terminal:
        yield from jobs
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("segmenting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield from progress.track(jobs)

"""`atrous segment`."""

import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from ..errors import ComputeError, InputError
from .options import Device, Engine, MaxSide, Model, Threads
from .progress import progress_bar
from .terminal import say

if TYPE_CHECKING:
    from ..segmenter import Segmentation, Segmenter
    from ..segmenter.batch import Done


# Of a disk, or of what a user may write to it: no photo's fault, and the next one's the same.
FULL = (errno.ENOSPC, errno.EDQUOT)


_SHOWN_FROM = 4  # photos from which there is a progress bar


@dataclass(frozen=True)
class Job:
    """A photo and the name, relative to the output folder and without suffix, of what is made of it."""

    photo: Path
    name: Path


class Written(NamedTuple):
    """What is reported of a photo whose files are written: shares of its classes, and the reduction of its CRF."""

    shares: dict[str, float]
    reduction: int


def segment(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Photos or clips, or folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for masks and overlays.")] = Path("segmentation"),
    model: Model = None,
    crf: Annotated[bool, typer.Option("--crf/--no-crf", help="Sharpen with the fully connected CRF.")] = True,
    max_side: MaxSide = 513,
    threads: Threads = None,
    device: Device = None,
    engine: Engine = None,
    overlay: Annotated[bool, typer.Option("--overlay/--no-overlay", help="Write photo.overlay.jpg too.")] = True,
    probabilities: Annotated[bool, typer.Option(help="Write photo.probabilities.npy (float16) too.")] = False,
    labels: Annotated[bool, typer.Option("--labels/--no-labels", help="Write label frames of clips too.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Make outputs that exist anew.")] = False,
) -> None:
    """Segment photos: for photo.jpg write photo.png (label ids) and photo.overlay.jpg; of clips, clip.overlay.mp4.

    Run again, it makes what is missing and skips what is done.
    """
    from .._io import remove_stale
    from ..data.image_io import VIDEO_SUFFIXES

    failures = 0

    def fail(message: str) -> None:
        nonlocal failures
        failures += 1
        say(f"error: {message}", err=True)

    jobs = list(find_jobs(paths, out, fail))
    inputs = file_keys(job.photo for job in jobs)
    for folder in {(out / job.name).parent for job in jobs}:
        remove_stale(folder)
    photos, done_before = unfinished(
        [job for job in jobs if job.photo.suffix.lower() not in VIDEO_SUFFIXES],
        lambda job: photo_unfinished(
            job, out, inputs, overlay=overlay, probabilities=probabilities, overwrite=overwrite
        ),
        fail,
    )
    clips = [job for job in jobs if job.photo.suffix.lower() in VIDEO_SUFFIXES]
    if clips:
        from .videos import unfinished_clips

        clips, clips_before = unfinished_clips(clips, out, inputs, labels=labels, overwrite=overwrite, fail=fail)
        done_before += clips_before
    if done_before:
        say(f"{done_before:,} done before, skipped")
    if photos or clips:
        from ..segmenter import Segmenter

        _check_out(out)
        segmenter = Segmenter(
            model, crf="model" if crf else None, max_side=max_side, threads=threads, device=device, engine=engine
        )
        if photos:
            write = partial(_write, out=out, overlay=overlay, probabilities=probabilities)
            _segment_photos(photos, segmenter, write, out, fail)
        if clips:
            from .videos import segment_videos

            segment_videos(clips, segmenter, out, overwrite=overwrite, labels=labels, fail=fail)
    if failures:
        raise typer.Exit(2)


def _segment_photos(
    jobs: list[Job],
    segmenter: "Segmenter",
    write: "Callable[[Job, Segmentation], Written]",
    out: Path,
    fail: Callable[[str], None],
) -> None:
    """Write what is made of each photo, and say a line for each; several are in work at a time."""
    done = 0
    try:
        with (
            closing(_each_done(jobs, segmenter, write)) as results,
            progress_bar("segmenting", len(jobs), shown=len(jobs) >= _SHOWN_FROM) as show_progress,
        ):
            for result in results:
                photo = result.item.photo
                try:
                    if result.error is not None:
                        raise result.error
                    assert result.made is not None
                    written = result.made
                except InputError as error:
                    fail(str(error))
                except ComputeError as error:
                    fail(f"{photo}: {error}")
                except OSError as error:
                    fail(f"{error.filename or out / result.item.name}: cannot be written ({error.strerror or error})")
                    if error.errno in FULL and (left := len(jobs) - done - 1):
                        fail(f"{left} photos are left; make room and run the command again")
                        break
                except MemoryError:
                    fail(f"{photo}: not enough memory for a photo of this size; scale it down first")
                else:
                    # Not above: a reader of the lines who has gone is no error of the photo's.
                    say(report_line(photo, written.shares, result.seconds))
                    if written.reduction > 1:
                        say(reduction_line(photo, written.reduction), err=True)
                done += 1
                show_progress(done)
    except KeyboardInterrupt:
        say(f"error: interrupted after {done} of {len(jobs)} photos; what is written is whole", err=True)
        raise typer.Exit(130) from None


def _each_done(
    jobs: list[Job], segmenter: "Segmenter", write: "Callable[[Job, Segmentation], Written]"
) -> "Generator[Done[Job, Written], None, None]":
    from ..segmenter.batch import Done, segmented

    if len(jobs) > 1:
        yield from segmented(segmenter, jobs, read=lambda job: job.photo, finish=write)
        return
    # One photo is done soonest with all threads on each step.
    (job,) = jobs
    begun = time.perf_counter()
    try:
        made, error = write(job, segmenter(job.photo)), None
    except Exception as caught:
        made, error = None, caught
    yield Done(job, made, error, time.perf_counter() - begun)


def _write(job: Job, result: "Segmentation", *, out: Path, overlay: bool, probabilities: bool) -> Written:
    result.save((out / job.name).parent, job.name.name, overlay=overlay, probabilities=probabilities)
    return Written(result.shares(), result.reduction)


def reduction_line(photo: Path, reduction: int) -> str:
    """One line for a photo whose CRF did not see it at its own size."""
    return (
        f"note: {photo}: too much noise for a CRF of each pixel in bounded memory; computed on means of"
        f" {reduction} x {reduction} pixels"
    )


def unfinished(
    jobs: list[Job], is_unfinished: Callable[[Job], bool], fail: Callable[[str], None]
) -> tuple[list[Job], int]:
    """Return the jobs that are not done yet, and how many are; report by `fail` what cannot be done."""
    todo, done = [], 0
    for job in jobs:
        try:
            if is_unfinished(job):
                todo.append(job)
            else:
                done += 1
        except InputError as error:
            fail(str(error))
    return todo, done


def photo_unfinished(
    job: Job, out: Path, inputs: set[tuple[int, int]], *, overlay: bool, probabilities: bool, overwrite: bool
) -> bool:
    """Return whether a photo's outputs have still to be made; InputError if that would replace what it should not."""
    from ..segmenter.result import output_files, outputs_missing

    targets = output_files((out / job.name).parent, job.name.name, overlay=overlay, probabilities=probabilities)
    for target in targets:
        try:
            if file_keys([target]) & inputs:
                raise InputError(f"{target}: is an input and would be replaced; choose another --out")
            if target.is_dir():
                raise InputError(f"{target}: is a folder; expected no such file; move it away or choose another --out")
        except OSError as error:
            raise InputError(f"{target}: cannot be written ({error.strerror or error}); rename the photo") from None
    return overwrite or outputs_missing(targets)


def file_keys(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """Return what tells files apart whatever they are called, of those of `paths` that exist."""
    keys = set()
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            status = path.stat()
            keys.add((status.st_dev, status.st_ino))
    return keys


def find_jobs(paths: list[Path], out: Path, fail: Callable[[str], None]) -> Iterator[Job]:
    """Yield a job for each photo; say by `fail` what is no photo or no folder with one."""
    from ..data.image_io import IMAGE_SUFFIXES, VIDEO_SUFFIXES

    found: dict[Path, Path] = {}  # photo -> its place below the output folder, with suffix
    seen: set[Path] = set()

    def add(photo: Path, place: Path) -> None:
        if (real := _real(photo)) not in seen:
            seen.add(real)
            found[photo] = place

    for path in paths:
        if (trouble := _trouble(path)) is not None:
            fail(f"{path}: {trouble}")
        elif path.is_dir():
            photos = photos_below(path, out, fail)
            if not photos:
                looked_for = ", ".join(sorted(IMAGE_SUFFIXES) + sorted(VIDEO_SUFFIXES))
                fail(f"{path}: no photos and no clips in this folder; looked for {looked_for}")
            for photo in photos:
                add(photo, photo.relative_to(path))
        else:
            add(path, Path(path.name))
    stems = Counter(_lower(place.with_suffix("")) for place in found.values())
    taken: set[str] = set()
    for photo, place in found.items():
        name = place.with_suffix("") if stems[_lower(place.with_suffix(""))] == 1 else place
        if _lower(name) in taken:
            fail(f"{photo}: another photo is called {place} too; segment them into different folders (--out)")
            continue
        taken.add(_lower(name))
        yield Job(photo, name)


def _trouble(path: Path) -> str | None:
    """Say what is wrong with a path that was given."""
    try:
        path.stat()
    except FileNotFoundError:
        is_address = path.parts and path.parts[0].lower() in ("http:", "https:")
        return "addresses are not fetched; download the photo first" if is_address else "no such file or folder"
    except OSError as error:
        return error.strerror or str(error)
    return None


def photos_below(folder: Path, out: Path, fail: Callable[[str], None]) -> list[Path]:
    """Return photos and clips in a folder and its subfolders, without what this command wrote and hidden files.

    Folders that cannot be listed are reported by `fail`.
    """
    from ..data.choice import files_below
    from ..data.image_io import IMAGE_SUFFIXES, VIDEO_SUFFIXES

    # An output folder inside is left out as a whole; results beside the photos are told by their headers.
    top, results = _real(folder), _real(out)
    inside = results != top and results.is_relative_to(top)
    return sorted(
        path
        for path in files_below(folder, lambda error: fail(f"{error.filename}: cannot be read ({error.strerror})"))
        if path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES
        and path.is_file()
        and not (inside and _real(path).is_relative_to(results))
        and not _made_here(path)
    )


def _check_out(out: Path) -> None:
    """Raise InputError if a folder cannot be written, before any work is done for it."""
    from .._io import written

    try:
        if out.exists() or out.is_symlink():
            with written(b"", out):
                pass
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror or error}); expected a folder") from None


def _real(path: Path) -> Path:
    """Return where a path leads; a link in a circle leads to itself."""
    try:
        return Path(os.path.realpath(path))
    except OSError as error:  # the working folder is gone
        raise InputError(f"{path}: cannot be found from the working folder ({error.strerror or error})") from None


def _made_here(path: Path) -> bool:
    from ..data.image_io import VIDEO_SUFFIXES
    from ..labelmap.png import made_here

    if path.suffix.lower() in VIDEO_SUFFIXES:
        return path.stem.lower().endswith(".overlay")
    return made_here(path)


def report_line(photo: Path, shares: dict[str, float], seconds: float) -> str:
    """One line: the photo, its classes with their share of the pixels, the time it took."""
    listed = ", ".join(
        f"{name} {100 * share:.1f}%" if share >= 0.0005 else f"{name} <0.1%" for name, share in shares.items()
    )
    return f"{photo}: {listed} ({seconds:.2f} s)"


def _lower(path: Path) -> str:
    # Some file systems hold Photo.png and photo.png for the same.
    return path.as_posix().lower()

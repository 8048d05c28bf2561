"""The command `atrous segment`."""

import errno
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ..errors import ComputeError, InputError, MissingExtra
from .jobs import (
    Job,
    check_out,
    file_keys,
    find_jobs,
    image_unfinished,
    reduction_line,
    report_line,
    things,
    unfinished,
)
from .options import Device, Engine, MaxSide, MinRegion, Model, Opacity, OverlayColors, Threads
from .progress import Update, progress_bar
from .terminal import print_line

if TYPE_CHECKING:
    from ..segmenter import Done, Segmentation, Segmenter
    from ..video import Progress, VideoReport


# Errors of the disk or the user's quota, which would also affect the next image.
FULL = (errno.ENOSPC, errno.EDQUOT)


_SHOWN_FROM = 4  # minimum number of images for a progress bar


class Written(NamedTuple):
    """Reported results of an image: shares of its classes, and the reduction of its CRF."""

    shares: dict[str, float]
    reduction: int


def segment(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Photos, videos, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for masks and overlays.")] = Path("segmentation"),
    model: Model = None,
    crf: Annotated[bool, typer.Option("--crf/--no-crf", help="Refine with the fully connected CRF.")] = True,
    max_side: MaxSide = 513,
    threads: Threads = None,
    device: Device = None,
    engine: Engine = None,
    overlay: Annotated[bool, typer.Option("--overlay/--no-overlay", help="Also write photo.overlay.jpg.")] = True,
    probabilities: Annotated[bool, typer.Option(help="Also write photo.probabilities.npy (float16).")] = False,
    cutout: Annotated[
        str | None,
        typer.Option(
            metavar="CLASSES",
            help="Also write photo.cutout.png, transparent outside these classes: 'person,dog', or 'all'.",
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="CLASSES", help="Segment only these classes, such as 'person,dog'.")
    ] = None,
    min_region: MinRegion = None,
    opacity: Opacity = 0.45,
    colors: OverlayColors = None,
    format: Annotated[
        str | None, typer.Option(metavar="coco", help="Also write coco.json with the regions of all photos.")
    ] = None,
    labels: Annotated[bool, typer.Option("--labels/--no-labels", help="Also write label frames of videos.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace existing outputs.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each photo.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Segment photos and videos.

    For photo.jpg, write the mask photo.png (label ids) and photo.overlay.jpg; for video.mp4, video.overlay.mp4. A
    second run writes only missing outputs.
    """
    if format not in (None, "coco"):
        raise InputError(f"--format {format}: expected coco")
    cut, only = _names(cutout), _names(classes)
    from .._io import remove_stale
    from ..image_io import VIDEO_SUFFIXES
    from ..labelmap import class_id, read_color_table

    failures = 0

    def fail(message: str) -> None:
        nonlocal failures
        failures += 1
        print_line(f"error: {message}", err=True)

    jobs = list(find_jobs(paths, out, fail))
    inputs = file_keys(job.path for job in jobs)
    for folder in {(out / job.name).parent for job in jobs}:
        remove_stale(folder)
    images, done_before = unfinished(
        [job for job in jobs if job.path.suffix.lower() not in VIDEO_SUFFIXES],
        lambda job: image_unfinished(
            job,
            out,
            inputs,
            overlay=overlay,
            probabilities=probabilities,
            overwrite=overwrite,
            cutout=cut is not None,
        ),
        fail,
    )
    videos = [job for job in jobs if job.path.suffix.lower() in VIDEO_SUFFIXES]
    if videos:
        videos, videos_before = unfinished_videos(videos, out, inputs, labels=labels, overwrite=overwrite, fail=fail)
        done_before += videos_before
    if done_before and not (quiet or json):
        print_line(f"{done_before:,} done before, skipped")
    if images or videos or (jobs and (format or cut or only)):
        from ..segmenter import Segmenter

        check_out(out)
        segmenter = Segmenter(
            model,
            crf="model" if crf else None,
            max_side=max_side,
            threads=threads,
            device=device,
            engine=engine,
            min_region=min_region,
        )
        for name in [*(cut or ()), *(only or ())]:
            class_id(name, segmenter.classes)
        palette = (
            None if colors is None else read_color_table(colors, segmenter.classes)[0].palette(len(segmenter.classes))
        )
        if images:
            kinds: dict[str, Any] = {
                "overlay": overlay,
                "probabilities": probabilities,
                "opacity": opacity,
                "palette": palette,
            }
            kinds["cutout"] = False if cut is None else cut or True
            write = partial(_write, out=out, only=only, kinds=kinds)
            _segment_images(images, segmenter, write, out, fail, _Printer(len(images), json=json, quiet=quiet))
        if videos:
            segment_videos(videos, segmenter, out, overwrite=overwrite, labels=labels, fail=fail)
        if format:
            _write_coco(out, [job for job in jobs if job.path.suffix.lower() not in VIDEO_SUFFIXES], segmenter.classes)
    if failures:
        raise typer.Exit(2)


def _segment_images(
    jobs: list[Job],
    segmenter: "Segmenter",
    write: "Callable[[Job, Segmentation], Written]",
    out: Path,
    fail: Callable[[str], None],
    report: "_Printer",
) -> None:
    """Write the outputs of each image and print a line for it; several images are processed at a time."""
    done = 0
    try:
        with (
            closing(_each_done(jobs, segmenter, write)) as results,
            progress_bar("segmenting", len(jobs), shown=len(jobs) >= _SHOWN_FROM) as show_progress,
        ):
            for result in results:
                image = result.item.path
                try:
                    if result.error is not None:
                        raise result.error
                    assert result.made is not None
                    written = result.made
                except InputError as error:
                    fail(str(error))
                except ComputeError as error:
                    fail(f"{image}: {error}")
                except OSError as error:
                    fail(f"{error.filename or out / result.item.name}: cannot be written ({error.strerror or error})")
                    if error.errno in FULL and (left := len(jobs) - done - 1):
                        fail(f"{left} images remain; make room and run the command again")
                        break
                except MemoryError:
                    fail(f"{image}: not enough memory for a photo of this size; scale it down first")
                else:
                    # Outside the `try`, because a closed standard output is not an error of the image.
                    report(result.item, out, written.shares, result.seconds)
                    if written.reduction > 1:
                        print_line(reduction_line(image, written.reduction), err=True)
                done += 1
                show_progress(done)
    except KeyboardInterrupt:
        print_line(f"error: interrupted after {done} of {len(jobs)} images; all written files are complete", err=True)
        raise typer.Exit(130) from None


def _each_done(
    jobs: list[Job], segmenter: "Segmenter", write: "Callable[[Job, Segmentation], Written]"
) -> "Generator[Done[Job, Written], None, None]":
    from ..segmenter import Done, segmented

    if len(jobs) > 1:
        yield from segmented(segmenter, jobs, read=lambda job: job.path, finish=write)
        return
    # A single image is fastest with all threads for each step.
    (job,) = jobs
    started = time.perf_counter()
    try:
        made, error = write(job, segmenter(job.path)), None
    except Exception as caught:
        made, error = None, caught
    yield Done(job, made, error, time.perf_counter() - started)


def _write(job: Job, result: "Segmentation", *, out: Path, only: list[str] | None, kinds: dict[str, Any]) -> Written:
    if only is not None:
        result = result.select(*only)
    result.save((out / job.name).parent, job.name.name, **kinds)
    return Written(result.shares(), result.reduction)


class _Printer:
    """Lines of output, one for each image.

    Parameters
    ----------
    total : int
        Number of images of the run.
    json, quiet : bool
        Options of the command.
    """

    def __init__(self, total: int, *, json: bool, quiet: bool) -> None:
        self._total, self._json, self._quiet = total, json, quiet
        self._done = 0

    def __call__(self, job: Job, out: Path, shares: dict[str, float], seconds: float) -> None:
        self._done += 1
        if self._json:
            rounded = {name: round(share, 6) for name, share in shares.items()}
            found = {"photo": str(job.path), "mask": f"{out / job.name}.png", "shares": rounded}
            print_line(dumps(found | {"seconds": round(seconds, 3)}, ensure_ascii=True))
        elif not self._quiet:
            count = f"[{self._done:,}/{self._total:,}] " if self._total > 1 else ""
            print_line(count + report_line(job.path, shares, seconds))


def _names(given: str | None) -> list[str] | None:
    """Return the class names in an option; [] for "all", None without the option."""
    if given is None:
        return None
    names = [name.strip() for name in given.split(",") if name.strip()]
    return [] if names == ["all"] else names


def _write_coco(out: Path, jobs: list[Job], classes: Sequence[str]) -> None:
    """Write coco.json with the regions of all masks, including those of earlier runs."""
    from .._io import write_bytes
    from ..labelmap import coco, read_labels

    # The error of an image without a mask was reported earlier.
    masks = ((job, out / f"{job.name}.png") for job in jobs)
    content = coco(
        (((job.name.parent / job.path.name).as_posix(), read_labels(mask)) for job, mask in masks if mask.is_file()),
        classes,
    )
    try:
        write_bytes(out / "coco.json", dumps(content).encode())
    except OSError as error:
        raise InputError(f"{out / 'coco.json'}: cannot be written ({error.strerror or error})") from None


def unfinished_videos(
    videos: list[Job],
    out: Path,
    inputs: set[tuple[int, int]],
    *,
    labels: bool,
    overwrite: bool,
    fail: Callable[[str], None],
) -> tuple[list[Job], int]:
    """Return the unfinished videos and the number of finished ones; report impossible ones to `fail`."""
    try:
        from ..video import output_paths, outputs_missing
    except MissingExtra as error:
        fail(str(error))
        return [], 0

    def is_unfinished(job: Job) -> bool:
        folder, name = (out / job.name).parent, job.name.name
        missing = outputs_missing(job.path, folder, name, labels=labels, overwrite=overwrite)
        if file_keys(output_paths(folder, name)[:1]) & inputs:
            raise InputError(
                f"{output_paths(folder, name)[0]}: is an input and would be replaced; choose another --out"
            )
        return missing

    return unfinished(videos, is_unfinished, fail)


def segment_videos(
    videos: list[Job],
    segmenter: "Segmenter",
    out: Path,
    *,
    overwrite: bool,
    labels: bool,
    fail: Callable[[str], None],
) -> None:
    """Segment videos one after the other: for video.mp4, write video.overlay.mp4 and, with `labels`, label frames.

    Prints a line for each video. Errors, and parts of a video that could not be read, are reported to `fail`, and the
    next video follows.

    Parameters
    ----------
    Unfinished videos, from `unfinished_videos`.
        Those that `unfinished_videos` returns.
    segmenter : Segmenter
    out : Path
        Output folder.
    overwrite, labels : bool
        See the command's options.
    fail : callable
        Prints and counts an error.

    Raises
    ------
    typer.Exit
        With status 130, on Ctrl-C. Finished videos stay; files of the current one are removed.
    """
    from ..video import segment_video

    done = 0
    try:
        for job in videos:
            try:
                with progress_bar(job.path.name, counted=False) as update:
                    report = segment_video(
                        segmenter,
                        job.path,
                        (out / job.name).parent,
                        job.name.name,
                        labels=labels,
                        overwrite=overwrite,
                        progress=partial(_show_progress, update),
                    )
            except InputError as error:
                fail(str(error))
            except ComputeError as error:
                fail(f"{job.path}: {error}")
            except OSError as error:
                fail(f"{error.filename or out / job.name}: cannot be written ({error.strerror or error})")
                if error.errno in FULL and (left := len(videos) - done - 1):
                    fail(f"{left} videos remain; make room and run the command again")
                    break
            except MemoryError:
                fail(f"{job.path}: not enough memory for a video of this size; scale it down first")
            else:
                print_line(video_line(report))
                for note in report.notes:
                    print_line(f"{job.path}: {note}", err=True)
                for damage in report.damage:
                    fail(f"{job.path}: {damage}")
            done += 1
    except KeyboardInterrupt:
        print_line(
            f"error: interrupted after {done} of {len(videos)} videos; files of the unfinished one were removed",
            err=True,
        )
        raise typer.Exit(130) from None


def video_line(report: "VideoReport") -> str:
    """Return a line with a video, its length, its classes with their shares of the pixels, and the time."""
    frames = f"{report.frames} {'frame' if report.frames == 1 else 'frames'}, {report.seconds:.2f} s"
    speed = f"{report.took:.1f} s, {report.frames / report.took:.1f} frames/s"
    return f"{report.source}: {frames}: {things(report.shares)} ({speed})"


def _show_progress(update: Update, progress: "Progress") -> None:
    # A video may be longer than its header states.
    total = None if progress.duration is None else max(progress.duration, progress.seconds)
    update(progress.seconds, total, text=f"{progress.frames} frames")

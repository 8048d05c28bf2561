"""Videos of `atrous segment`."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import ComputeError, InputError, MissingExtra
from .jobs import Job, ends_run, failure_line, file_keys, json_line, listed_classes, unfinished
from .progress import Update, progress_bar
from .terminal import print_line

if TYPE_CHECKING:
    from ..segmenter import Segmenter
    from ..video import Progress, VideoReport


def unfinished_videos(
    videos: list[Job],
    out: Path,
    inputs: set[tuple[int, int]],
    *,
    labels: bool,
    overwrite: bool,
    fail: Callable[[str], None],
) -> tuple[list[Job], list[Job]]:
    """Return the unfinished videos and the finished ones; report impossible ones to `fail`."""
    try:
        from ..video import output_paths, outputs_missing
    except MissingExtra as error:
        fail(str(error))
        return [], []

    def is_unfinished(job: Job) -> bool:
        folder, name = (out / job.name).parent, job.name.name
        missing = outputs_missing(job.path, folder, name, labels=labels, overwrite=overwrite)
        overlay, _ = output_paths(folder, name)
        if file_keys([overlay]) & inputs:
            raise InputError(f"{overlay}: is an input and would be replaced; choose another --out")
        return missing

    return unfinished(videos, is_unfinished, fail)


def check_options(videos: list[Job], for_photos: dict[str, bool]) -> None:
    """Raise InputError if there are videos and an option is set that applies to photos only."""
    if videos and (given := [option for option, is_set in for_photos.items() if is_set]):
        raise InputError(
            f"{', '.join(given)}: for photos only, got the video {videos[0].path}; segment photos and videos separately"
        )


def segment_videos(
    videos: list[Job],
    segmenter: "Segmenter",
    out: Path,
    *,
    keys: Mapping[Job, Mapping[str, str]],
    overwrite: bool,
    labels: bool,
    fail: Callable[[str], None],
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Segment videos one after the other, and print a line for each: of text, of JSON, or none.

    Errors, and parts of a video that could not be read, are reported to `fail`, and the next video follows. Ctrl-C
    raises typer.Exit with status 130: finished videos stay, files of the current one are removed.
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
                        key=keys[job].get(".overlay.mp4"),
                        progress=partial(_show_progress, update),
                    )
            except (InputError, ComputeError, OSError, MemoryError) as error:
                fail(failure_line(job, out, error))
                if ends_run(error) and (left := len(videos) - done - 1):
                    fail(f"{left} videos remain; make room and run the command again")
                    break
            else:
                if json or not quiet:
                    print_line(_json(report) if json else video_line(report))
                for note in () if quiet else report.notes:
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
    return f"{report.source}: {frames}: {listed_classes(report.shares)} ({speed})"


def _json(report: "VideoReport") -> str:
    files = {"video": str(report.source), "overlay": str(report.overlay)}
    length = {"frames": report.frames, "duration": round(report.seconds, 3)}
    return json_line({**files, **length}, report.shares, report.took)


def _show_progress(update: Update, progress: "Progress") -> None:
    # A video may be longer than its header states.
    total = None if progress.duration is None else max(progress.duration, progress.seconds)
    update(progress.seconds, total, text=f"{progress.frames} frames")

"""Clips given to `atrous segment`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ..errors import ComputeError, InputError, MissingExtra
from .progress import Update, progress_bar
from .segment import FULL, Job, file_keys, unfinished
from .terminal import say

if TYPE_CHECKING:
    from ..segmenter import Segmenter
    from ..video import Progress, VideoReport


def unfinished_clips(
    clips: list[Job],
    out: Path,
    inputs: set[tuple[int, int]],
    *,
    labels: bool,
    overwrite: bool,
    fail: Callable[[str], None],
) -> tuple[list[Job], int]:
    """Return the clips that are not done yet, and how many are; report by `fail` what cannot be done."""
    try:
        from ..video.outputs import output_paths, outputs_missing
    except MissingExtra as error:
        fail(str(error))
        return [], 0

    def is_unfinished(job: Job) -> bool:
        folder, name = (out / job.name).parent, job.name.name
        missing = outputs_missing(job.photo, folder, name, labels=labels, overwrite=overwrite)
        if file_keys(output_paths(folder, name)[:1]) & inputs:
            raise InputError(
                f"{output_paths(folder, name)[0]}: is an input and would be replaced; choose another --out"
            )
        return missing

    return unfinished(clips, is_unfinished, fail)


def segment_videos(
    clips: list[Job],
    segmenter: "Segmenter",
    out: Path,
    *,
    overwrite: bool,
    labels: bool,
    fail: Callable[[str], None],
) -> None:
    """Segment clips one after the other: for clip.mp4 write clip.overlay.mp4 and, with `labels`, clip/000001.png...

    Prints a line for each clip; what goes wrong with one is said by `fail`, and the next follows. So is what of a
    clip could not be read, though the rest is written.

    Parameters
    ----------
    clips : list of Job
        Those that `unfinished_clips` returns.
    segmenter : Segmenter
    out : Path
        Folder for what is written.
    overwrite, labels : bool
        As the command's options.
    fail : callable
        Says an error and counts it.

    Raises
    ------
    typer.Exit
        With status 130, at Ctrl-C. Clips that are done stay; of the one in work nothing is left.
    """
    from ..video import segment_video

    done = 0
    try:
        for job in clips:
            try:
                with progress_bar(job.photo.name, counted=False) as update:
                    report = segment_video(
                        segmenter,
                        job.photo,
                        (out / job.name).parent,
                        job.name.name,
                        labels=labels,
                        overwrite=overwrite,
                        progress=partial(_show_progress, update),
                    )
            except InputError as error:
                fail(str(error))
            except ComputeError as error:
                fail(f"{job.photo}: {error}")
            except OSError as error:
                fail(f"{error.filename or out / job.name}: cannot be written ({error.strerror or error})")
                if error.errno in FULL and (left := len(clips) - done - 1):
                    fail(f"{left} clips are left; make room and run the command again")
                    break
            except MemoryError:
                fail(f"{job.photo}: not enough memory for a clip of this size; scale it down first")
            else:
                say(video_line(report))
                for note in report.notes:
                    say(f"{job.photo}: {note}", err=True)
                for damage in report.damage:
                    fail(f"{job.photo}: {damage}")
            done += 1
    except KeyboardInterrupt:
        say(f"error: interrupted after {done} of {len(clips)} clips; nothing is left of an unfinished one", err=True)
        raise typer.Exit(130) from None


def video_line(report: "VideoReport") -> str:
    """One line: the clip, its length, its classes with their share of the pixels, the time it took."""
    shares = ", ".join(f"{name} {100 * share:.1f}%" for name, share in report.shares.items())
    frames = f"{report.frames} {'frame' if report.frames == 1 else 'frames'}, {report.seconds:.2f} s"
    return f"{report.source}: {frames}: {shares} ({report.took:.1f} s, {report.frames / report.took:.1f} frames/s)"


def _show_progress(update: Update, progress: "Progress") -> None:
    # A clip may last longer than its file says.
    total = None if progress.duration is None else max(progress.duration, progress.seconds)
    update(progress.seconds, total, text=f"{progress.frames} frames")

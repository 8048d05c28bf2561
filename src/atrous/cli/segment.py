"""The command `atrous segment`."""

import io
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .._defaults import MAX_CRF_PIXELS, MAX_SIDE
from ..errors import ComputeError, InputError
from .coco import check_coco, write_coco
from .fetch import STDIN, fetch, read_stdin
from .jobs import (
    COCO,
    Job,
    check_out,
    empty_cutout,
    ends_run,
    failure_line,
    file_keys,
    find_jobs,
    image_unfinished,
    json_line,
    listed_classes,
    older_outputs,
    report_line,
    unfinished,
)
from .options import (
    Device,
    Engine,
    MaxCrfPixels,
    MaxSide,
    MinRegion,
    Model,
    Opacity,
    OverlayColors,
    Threads,
    overlay_colors,
)
from .output_keys import distinct, made_otherwise, model_key, output_keys
from .progress import progress_bar
from .terminal import print_line
from .videos import check_options, segment_videos, unfinished_videos

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..segmenter import Done, Segmentation, Segmenter

_SHOWN_FROM = 4  # minimum number of images for a progress bar
_OPACITY = 0.45


class Written(NamedTuple):
    """Reported results of an image: shares of its classes, as numbers and in words, and the reduction of its CRF."""

    shares: dict[str, float]
    found: str
    reduction: int


def segment(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="Photos, videos, or folders of them; web addresses of photos; - for a photo on standard input.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder for masks and overlays; - writes a photo's mask to standard output."),
    ] = Path("segmentation"),
    model: Model = None,
    crf: Annotated[bool, typer.Option("--crf/--no-crf", help="Refine with the fully connected CRF.")] = True,
    max_side: MaxSide = MAX_SIDE,
    max_crf_pixels: MaxCrfPixels = MAX_CRF_PIXELS,
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
        str | None, typer.Option(metavar="CLASSES", help="Segment only these classes: 'person,dog', or 'all'.")
    ] = None,
    min_region: MinRegion = None,
    opacity: Opacity = _OPACITY,
    colors: OverlayColors = None,
    format: Annotated[
        str | None, typer.Option(metavar="coco", help="Also write coco.json with the regions of all photos.")
    ] = None,
    labels: Annotated[bool, typer.Option("--labels/--no-labels", help="Also write label frames of videos.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace existing outputs.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each photo and video.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also print the model and its runtime.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Segment photos and videos.

    For photo.jpg, write the mask photo.png (label ids) and photo.overlay.jpg; for video.mp4, video.overlay.mp4. A
    second run writes only missing outputs; --overwrite writes all.
    """
    if format not in (None, "coco"):
        raise InputError(f"--format {format}: expected coco")
    from .._io import remove_stale
    from ..labelmap import class_id, is_background

    cut, only = _names("--cutout", cutout), _names("--classes", classes) or None
    if only and all(map(is_background, only)):
        raise InputError(f"--classes {classes}: expected a class besides the background, such as 'person,dog', or all")

    failures = 0

    def fail(message: str) -> None:
        nonlocal failures
        failures += 1
        print_line(f"error: {message}", err=True)

    def note(message: str) -> None:
        if not quiet:
            print_line(f"note: {message}", err=True)

    def load() -> "Segmenter":
        from ..segmenter import Segmenter

        segmenter = Segmenter(
            model,
            crf="model" if crf else None,
            max_side=max_side,
            threads=threads,
            device=device,
            engine=engine,
            min_region=min_region,
            max_crf_pixels=max_crf_pixels or None,
        )
        for name in [*(cut or ()), *(only or ())]:
            class_id(name, segmenter.classes)
        if verbose:
            print_line(repr(segmenter), err=True)
        return segmenter

    jobs = list(find_jobs(paths, out, fail, note, cutout=cut is not None))
    videos = [job for job in jobs if job.is_video]
    photos = [job for job in jobs if not job.is_video]
    if str(out) == STDIN:
        if probabilities or format or labels or json:
            raise InputError("--out -: expected no --probabilities, --format, --labels or --json; choose a folder")
        if not failures:
            _write_to_stdout(jobs, load, cut, only, note)
            return
        raise typer.Exit(2)
    for_photos = {"--cutout": cut, "--classes": only, "--colors": colors, "--format": format}
    check_options(
        videos,
        {option: value is not None for option, value in for_photos.items()}
        | {"--no-overlay": not overlay, "--probabilities": probabilities, "--opacity": opacity != _OPACITY},
    )
    if format and not overwrite:
        check_coco(out, photos)
    inputs = file_keys(job.path for job in jobs if not job.address)
    for folder in {(out / job.name).parent for job in jobs}:
        remove_stale(folder)
    settings = [model_key(model), crf, max_side, max_crf_pixels, min_region, None if only is None else distinct(only)]
    keys = {job: output_keys(job, settings, cut) for job in jobs}
    images, done = unfinished(
        photos,
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
    if videos:
        videos, videos_done = unfinished_videos(videos, out, inputs, labels=labels, overwrite=overwrite, fail=fail)
        done += videos_done
    others = set() if overwrite else {job for job in images + videos + done if made_otherwise(job, out, keys[job])}
    images, videos, done = ([job for job in each if job not in others] for each in (images, videos, done))
    if done and not quiet:
        print_line(f"{len(done):,} done before, skipped", err=json)
    if overwrite:
        old = older_outputs(images, out, overlay=overlay, probabilities=probabilities, cutout=cut is not None)
        if images and not format and (out / COCO).exists():
            old.append(out / COCO)
        if old:
            note(f"{old[0]}{f' and {len(old) - 1:,} more' if len(old) > 1 else ''}: of an earlier run, not replaced")
    if images or videos or (jobs and (format or cut or only)):
        check_out(out)
        segmenter = load()
        own = segmenter.engine.metadata.palette
        palette = None if colors is None else overlay_colors(colors, segmenter.classes, own)
        if images:
            kinds: dict[str, Any] = {
                "overlay": overlay,
                "probabilities": probabilities,
                "opacity": opacity,
                "palette": palette,
            }
            write = partial(_write, out=out, only=only, cut=cut, kinds=kinds, keys=keys)
            _segment_images(images, segmenter, write, out, fail, _Printer(len(images), json=json, quiet=quiet))
        if videos:
            segment_videos(
                videos, segmenter, out, keys=keys, overwrite=overwrite, labels=labels, fail=fail, json=json, quiet=quiet
            )
        if format and not others:
            write_coco(out, photos, segmenter.classes)
    if others:
        count = "1 input" if len(others) == 1 else f"{len(others):,} inputs"
        fail(
            f"{count} skipped, whose outputs were made from another photo or video, or with other options;"
            " use --overwrite to replace them, or another --out" + (f"; {COCO} was not written" if format else "")
        )
    if failures:
        raise typer.Exit(2)


def _read(job: Job) -> "Path | NDArray[np.uint8]":
    """Return an image's path, or its pixels if it is not a file."""
    from ..image_io import read_rgb

    if not job.address:
        return job.path
    content = read_stdin() if job.address == STDIN else fetch(job.address)
    return read_rgb(content, job.label, isolated=True)


def _write_to_stdout(
    jobs: list[Job],
    load: Callable[[], "Segmenter"],
    cut: list[str] | None,
    only: list[str] | None,
    note: Callable[[str], None],
) -> None:
    """Write the mask of the only image, or its cut-out, to standard output."""
    from ..labelmap import label_png

    if len(jobs) != 1 or jobs[0].is_video:
        raise InputError(f"--out -: expected one photo, got {'a video' if len(jobs) == 1 else len(jobs)}; set a folder")
    if sys.stdout.isatty():
        raise InputError("--out -: expected a file or a program that reads standard output, such as > mask.png")
    result = load()(_read(jobs[0]))
    if only is not None:
        result = result.select(*only)
    if cut is None:
        content = label_png(result.labels, result.palette)
    else:
        if empty := empty_cutout(result.shares(), cut):
            note(f"{jobs[0].label}: {empty}")
        result.cutout(*cut).save(png := io.BytesIO(), format="PNG")
        content = png.getvalue()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _segment_images(
    jobs: list[Job],
    segmenter: "Segmenter",
    write: "Callable[[Job, Segmentation], Written]",
    out: Path,
    fail: Callable[[str], None],
    report: "_Printer",
) -> None:
    """Write the outputs of each image and print a line for it; several images are processed at a time."""
    done = failed = 0
    try:
        with (
            closing(_each_done(jobs, segmenter, write)) as results,
            progress_bar("segmenting", len(jobs), shown=len(jobs) >= _SHOWN_FROM) as show_progress,
        ):
            for result in results:
                try:
                    if result.error is not None:
                        raise result.error
                    assert result.made is not None
                    written = result.made
                except (InputError, ComputeError, OSError, MemoryError) as error:
                    fail(failure_line(result.item, out, error))
                    failed += 1
                    if ends_run(error) and (left := len(jobs) - done - 1):
                        fail(f"{left} images remain; make room and run the command again")
                        break
                else:
                    # Outside the `try`, because a closed standard output is not an error of the image.
                    report(result.item, out, written, result.seconds)
                done += 1
                show_progress(done)
    except KeyboardInterrupt:
        print_line(f"error: interrupted after {done} of {len(jobs)} images; all written files are complete", err=True)
        raise typer.Exit(130) from None
    if failed and done == len(jobs) > 1:
        print_line(f"{failed:,} of {len(jobs):,} photos failed", err=True)


def _each_done(
    jobs: list[Job], segmenter: "Segmenter", write: "Callable[[Job, Segmentation], Written]"
) -> "Generator[Done[Job, Written], None, None]":
    from ..segmenter import Done, segmented

    if len(jobs) > 1:
        yield from segmented(segmenter, jobs, read=_read, finish=write)
        return
    # A single image is fastest with all threads for each step.
    (job,) = jobs
    started = time.perf_counter()
    try:
        made, error = write(job, segmenter(_read(job))), None
    except Exception as caught:
        made, error = None, caught
    yield Done(job, made, error, time.perf_counter() - started)


def _write(
    job: Job,
    result: "Segmentation",
    *,
    out: Path,
    only: list[str] | None,
    cut: list[str] | None,
    kinds: dict[str, Any],
    keys: dict[Job, dict[str, str]],
) -> Written:
    if only is not None:
        result = result.select(*only)
    cutout = False if cut is None else cut or True
    result.save((out / job.name).parent, job.name.name, cutout=cutout, keys=keys[job], **kinds)
    shares = result.shares()
    found = listed_classes(shares) if only is None else listed_classes(shares, "none of these classes")
    if cut is not None and (empty := empty_cutout(shares, cut)):
        found += f"; {empty}"
    return Written(shares, found, result.reduction)


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

    def __call__(self, job: Job, out: Path, written: Written, seconds: float) -> None:
        self._done += 1
        if self._json:
            files = {"photo": job.label, "mask": f"{out / job.name}.png"}
            print_line(json_line(files, written.shares, seconds))
        elif not self._quiet:
            count = f"[{self._done:,}/{self._total:,}] " if self._total > 1 else ""
            print_line(count + report_line(job.label, written.found, seconds, written.reduction))


def _names(option: str, given: str | None) -> list[str] | None:
    """Return the class names in an option; [] for "all", None without the option."""
    if given is None:
        return None
    names = [name.strip() for name in given.split(",") if name.strip()]
    if not names:
        raise InputError(f"{option} {given!r}: expected class names, such as 'person,dog', or all")
    return [] if names == ["all"] else names

"""The command `atrous evaluate`."""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._distributed import TorchrunProcess
from .._printable import printable
from ..errors import InputError
from .options import Classes, Colors, Device, Engine, Model, Void, check_output, class_warning
from .progress import progress_bar
from .terminal import print_line, print_notes, print_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from ..data import Dataset, ImageList
    from ..evaluation import Evaluation, Labeler, RunInfo, Scored
    from ..segmenter import Segmenter

# Maximum of parallel images, to limit memory. Above it, each image gets more threads.
_MOST_WORKERS = 8

_MOST_STEPS = 1000


@dataclass(frozen=True)
class _Subject:
    """Subject of the evaluation: labeler, samples, description and warnings."""

    labeler: "Labeler"
    samples: "ImageList"
    palette: "NDArray[np.uint8]"
    facts: dict[str, str]
    warnings: tuple[str, ...] = ()


def evaluate(
    data: Annotated[Path, typer.Argument(help="A PASCAL VOC folder, or one with images/, labels/ and classes.txt.")],
    model: Model = None,
    masks: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of label maps NAME.png to score instead of a model; may be repeated."),
    ] = None,
    eval_list: Annotated[str | None, typer.Option("--list", help="List of images to score. Default: val.")] = None,
    classes: Classes = None,
    colors: Colors = None,
    void: Void = None,
    crf: Annotated[bool, typer.Option("--crf/--no-crf", help="Also score the result of the CRF.")] = True,
    preset: Annotated[
        str | None, typer.Option(help="CRF parameters of a released model instead of the model's own.")
    ] = None,
    trimap: Annotated[
        bool, typer.Option("--trimap/--no-trimap", help="Also score the bands along the outlines.")
    ] = True,
    steps: Annotated[
        str | None, typer.Option(help="Numbers of mean-field steps to score, such as 0,1,2,5,10,20.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Number of images, evenly spaced in the list. Default: all.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML file for a report with tables, curves and examples.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="File for all figures.")] = None,
    csv: Annotated[Path | None, typer.Option(help="File with one line per image.")] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Scores of another model on the same images (a file of --json), to print the gain and its interval."
        ),
    ] = None,
    submit: Annotated[
        Path | None, typer.Option(help="Folder for label maps in the format of VOC's server; needs no labels.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of parallel images. Default: one per core, at most 8.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads per image. Default: the remaining cores.")] = None,
    device: Device = None,
    engine: Engine = None,
) -> None:
    """Score a model or label maps on labeled images: IoU per class without and with the CRF.

    Several processes, on one machine or many: torchrun --nproc-per-node N -m atrous evaluate ...
    """
    from ..data import open_dataset
    from ..evaluation import WIDTHS, RunInfo, Scored, Submission, merged, official_size, score

    if masks and (model is not None or preset or steps or submit is not None):
        raise InputError("--masks: expected no --model, --preset, --steps or --submit with it; remove them")
    files = {"report": report, "json": json, "csv": csv}
    _check_files(files)
    theirs = Scored.read(against) if against is not None else None
    counts = _step_counts(steps)
    process = TorchrunProcess.from_environment()
    dataset = open_dataset(data, classes=classes, colors=colors, void=void or ())
    if process.rank == 0:
        print_notes(dataset.notes)
    # VOC's test images have no label maps.
    unlabeled = submit is not None and dataset.layout == "voc"
    listed = dataset.read(eval_list or dataset.default_evaluation_list, unlabeled=unlabeled)
    samples = listed if limit is None or limit >= len(listed) else listed.hold_out(limit)[1]
    workers, threads = _distribute(workers, threads, process.local)
    if masks:
        subject = _of_masks(masks, dataset, samples)
    else:
        segmenter = _segmenter(model, (preset or "model") if crf else None, threads, device, engine, process)
        subject = _of_model(segmenter, model, dataset, listed, samples, counts)
    if process.rank == 0:
        for warning in subject.warnings:
            print_line(f"warning: {warning}", err=True)
    samples = subject.samples
    if theirs is not None:
        theirs.check_comparable(samples.sha256, dataset.classes, subject.labeler.labelings)
    submission = Submission(submit, listed.name, subject.palette) if submit is not None else None
    started, start, finished = datetime.now().astimezone(), time.perf_counter(), 0
    try:
        count = len(process.places(len(samples)))
        with process.group(), progress_bar("scoring", count, shown=process.rank == 0) as show_progress:

            def done(n: int) -> None:
                nonlocal finished
                finished = n
                show_progress(n)

            part = score(
                subject.labeler,
                samples.samples,
                workers=workers,
                trimap=WIDTHS if trimap else (),
                process=process,
                save=submission.saver(subject.labeler.labelings[-1]) if submission else None,
                done=done,
            )
            parts = process.gather(part)
    except KeyboardInterrupt:
        if process.rank == 0:
            print_line(
                f"error: interrupted after {finished} of {len(samples)} images; no scores were written", err=True
            )
        raise typer.Exit(130) from None
    if parts is None:
        return
    result = merged(parts)
    run = RunInfo(
        data=str(data),
        listed=listed.name,
        sha256=samples.sha256,
        listed_images=len(listed),
        official=official_size(listed.name, dataset),
        subject=subject.facts,
        warnings=subject.warnings,
        started=started.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - start,
        workers=workers,
        threads=threads,
        processes=process.world,
    )
    written: list[Path] = []
    if result.images:
        # Before printing, because a closed output (| head) would end the command.
        written += _write(files, result, run, subject)
        _print(result, run)
        if theirs is not None:
            _compare(result, samples, theirs)
    else:
        print_line("note: no image of this list has labels, so no scores are printed", err=True)
    if submission is not None:
        written.append(submission.pack(samples.samples))
    if written:
        print_line("wrote " + ", ".join(map(str, written)))


def _of_masks(masks: list[Path], dataset: "Dataset", samples: "ImageList") -> _Subject:
    from ..evaluation import FolderLabeler, with_maps

    found = with_maps(samples, masks)
    warnings = []
    if len(found) < len(samples):
        where = " and ".join(map(str, masks))
        warnings.append(f"{len(found)} of {len(samples)} images of {samples.name} have a label map in {where}")
    facts = {"label maps": ", ".join(map(str, masks))}
    return _Subject(FolderLabeler(masks, dataset.classes), found, dataset.palette, facts, tuple(warnings))


def _of_model(
    segmenter: "Segmenter",
    model: Path | None,
    dataset: "Dataset",
    listed: "ImageList",
    samples: "ImageList",
    steps: list[int],
) -> _Subject:
    import numpy as np

    from ..evaluation import SegmenterLabeler, overlap_warning, subject_of

    metadata = segmenter.engine.metadata
    found = class_warning(dataset.root, dataset.classes, metadata.classes), overlap_warning(metadata, model, listed)
    warnings = tuple(warning for warning in found if warning is not None)
    palette = np.array(metadata.palette, np.uint8)
    facts = subject_of(segmenter, model)
    return _Subject(SegmenterLabeler(segmenter, steps), samples, palette, facts, warnings)


def _segmenter(
    model: Path | None, crf: str | None, threads: int, device: str | None, engine: str | None, process: TorchrunProcess
) -> "Segmenter":
    from ..segmenter import Segmenter

    if model is None or not model.is_dir():
        return Segmenter(model, crf=crf, threads=threads, device=device, engine=engine)
    if engine is not None:
        raise InputError(f"--engine {engine}: expected an .onnx file for it, got a checkpoint, which PyTorch runs")
    from ..network import TorchEngine  # raises MissingExtra without PyTorch

    checkpoint = TorchEngine.read(model, device=_torch_device(device, threads, process))
    return Segmenter(checkpoint, crf=crf, threads=threads)


def _torch_device(device: str | None, threads: int, process: TorchrunProcess) -> str:
    import torch

    from ..network import usable_device

    torch.set_num_threads(threads)
    device = usable_device(device)
    # Each process on a machine uses the next GPU.
    return f"cuda:{process.local_rank % torch.cuda.device_count()}" if device == "cuda" else device


def _check_files(files: dict[str, Path | None]) -> None:
    """Check before the evaluation that the files can be written."""
    for name, path in files.items():
        check_output(name, path)
    if files["report"] is not None:
        from ..evaluation import check_report

        check_report()


def _distribute(workers: int | None, threads: int | None, processes: int) -> tuple[int, int]:
    """Return a number of workers and of threads per worker that fill this process' cores."""
    from .._resources import check_threads

    cores = max(1, check_threads(None) // processes)
    if workers is None:
        workers = min(cores // min(threads or 1, cores), _MOST_WORKERS)
    return workers, threads or max(1, cores // workers)


def _step_counts(text: str | None) -> list[int]:
    """Parse `0,1,2,5` or `0:20` (first:last)."""
    if text is None:
        return []
    counts: set[int] = set()
    try:
        for part in text.split(","):
            first, _, last = part.partition(":")
            counts.update(range(int(first), int(last or first) + 1)[: _MOST_STEPS + 2])
    except ValueError:
        counts = set()
    if not counts or not 0 <= min(counts) <= max(counts) <= _MOST_STEPS:
        raise InputError(f"--steps {text}: expected numbers separated by commas, such as 0,1,2,5,10, or 0:20")
    return sorted(counts)


def _print(result: "Evaluation", run: "RunInfo") -> None:
    from ..evaluation import score_table, steps_table, trimap_table

    print_text(score_table(result))
    if result.widths:
        print_text("\n" + trimap_table(result))
    if result.steps:
        print_text("\n" + steps_table(result))
    rate = result.images / run.seconds
    print_text(f"\nover {printable(run.scope(result.images))}, {rate:.2f} images per second")


def _compare(result: "Evaluation", samples: "ImageList", theirs: "Scored") -> None:
    from ..evaluation import Scored, differences, differences_table

    found = differences(Scored.of(result, samples.sha256), theirs)
    print_text("\n" + differences_table(found, theirs.name))


def _write(files: dict[str, Path | None], result: "Evaluation", run: "RunInfo", subject: _Subject) -> list[Path]:
    from ..evaluation import as_csv, as_json, report_html, write_text

    makers: dict[str, Callable[[], str]] = {
        "json": lambda: as_json(result, run),
        "csv": lambda: as_csv(result),
        "report": lambda: report_html(result, run, subject.labeler, subject.samples.samples, subject.palette),
    }
    written = []
    for name, make in makers.items():
        if (path := files[name]) is not None:
            write_text(path, make())
            written.append(path)
    return written

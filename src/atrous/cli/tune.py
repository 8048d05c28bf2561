"""`atrous tune`."""

import dataclasses
import importlib.util
import json
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .options import Classes, Colors, Model, Threads
from .progress import Update, progress_bar
from .terminal import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..crf.tune import LabeledImage, Progress, SearchResult, Trial

# In one range; more are a slip of the pen.
_MOST_VALUES = 1000


def tune(
    data: Annotated[
        Path,
        typer.Argument(
            help="Labeled photos: a PASCAL VOC folder, or images/, labels/ and classes.txt. Or any network's output:"
            " images/, scores/ (.npy, .npz) and masks/."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Best parameters, as JSON for atrous export --crf; all trials beside it: .csv, .png."),
    ] = Path("crf.json"),
    model: Model = None,
    tune_list: Annotated[
        str | None, typer.Option("--list", help="List of images; default: the data's training list.")
    ] = None,
    hold_out: Annotated[
        int, typer.Option(min=0, help="Of the list, the images that training left out by the same option; 0 is all.")
    ] = 100,
    limit: Annotated[int | None, typer.Option(min=1, help="Only that many of the images, evenly spaced.")] = None,
    classes: Classes = None,
    colors: Colors = None,
    weight: Annotated[str, typer.Option(help="Bilateral weights to begin with.")] = "5,10",
    sxy: Annotated[str, typer.Option(help="Bilateral sxy to begin with, pixels; start:step:stop.")] = "50:10:100",
    srgb: Annotated[str, typer.Option(help="Bilateral srgb to begin with, gray values.")] = "3:1:10",
    finer: Annotated[int, typer.Option(min=0, max=20, help="How often the steps are halved around the best.")] = 2,
    iterations: Annotated[int, typer.Option(min=0, help="Mean field steps.")] = 10,
    threads: Threads = None,
) -> None:
    """Search the CRF's parameters, coarse to fine, on images that the network was not trained on.

    Finished trials are kept in the .csv: stopped, the same command goes on.
    """
    from .._io import write_text
    from ..crf.tune import search
    from ..data import CrfParameters

    table, picture = out.with_suffix(".csv"), out.with_suffix(".png")
    if out in (table, picture):
        raise InputError(f"--out {out}: expected a name for JSON such as crf.json; .csv and .png are written too")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no folder {out.parent}; make it first")
    weights, sxys, srgbs = _numbers("weight", weight), _numbers("sxy", sxy), _numbers("srgb", srgb)
    for end in (min, max):  # what could not be saved after hours
        try:
            CrfParameters(weight=end(weights), sxy=end(sxys), srgb=end(srgbs), iterations=iterations)
        except InputError as error:
            raise InputError(f"--{error}") from None
    samples, identity = _samples(
        data, model, tune_list, hold_out=hold_out, limit=limit, threads=threads, classes=classes, colors=colors
    )
    drawn = importlib.util.find_spec("matplotlib") is not None
    if not drawn:
        say(f"note: {picture} needs matplotlib: pip install 'atrous[plot]' and run this once more", err=True)
    before = _known(table)
    say(f"{len(samples)} images of {data}" + (f", {before} trials known from {table}" if before else ""))
    try:
        with progress_bar("reading", counted=False) as update:
            result = search(
                samples,
                weights=weights,
                sxys=sxys,
                srgbs=srgbs,
                refinements=finer,
                iterations=iterations,
                table=table,
                identity=identity,
                threads=threads,
                progress=partial(_show_progress, update),
            )
    except KeyboardInterrupt:
        say(f"error: interrupted; {_known(table)} trials are kept in {table}: the same command goes on", err=True)
        raise typer.Exit(130) from None
    best = result.best
    found = CrfParameters(weight=best.weight, sxy=best.sxy, srgb=best.srgb, iterations=iterations)
    try:
        write_text(out, json.dumps(dataclasses.asdict(found)) + "\n")
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error})") from None
    if drawn:
        result.save_heat_map(picture)
    _report(result, [out, table, *([picture] if drawn else [])])


def _samples(
    data: Path,
    model: Path | None,
    listed: str | None,
    *,
    hold_out: int,
    limit: int | None,
    threads: int | None,
    classes: Path | None,
    colors: Path | None,
) -> "tuple[Sequence[LabeledImage], dict[str, str] | None]":
    """Return the labeled images of any kind of folder, and what they are if that is not told by their contents."""
    from ..data import open_dataset
    from ..evaluation import FolderSamples, NetworkSamples, model_sha256, overlap_warning
    from ..segmenter import Segmenter

    if not data.is_dir():
        raise InputError(f"{data}: no such folder")
    if any((data / name).is_dir() for name in ("scores", "masks")):
        for option, given in {"model": model, "list": listed, "classes": classes, "colors": colors}.items():
            if given is not None:
                raise InputError(f"--{option} {given}: {data} holds scores already; leave the option out")
        return FolderSamples(data, limit), None
    dataset = open_dataset(data, classes=classes, colors=colors)
    names = dataset.read(listed or dataset.default_training_list)
    if hold_out:
        _, names = names.hold_out(hold_out)
    if limit is not None and limit < len(names):
        _, names = names.hold_out(limit)
    segmenter = Segmenter(model, crf=None, threads=threads)
    if len(segmenter.classes) != len(dataset.classes):
        of = "the bundled model" if model is None else model
        raise InputError(
            f"{data}: has {len(dataset.classes)} classes, but {of} {len(segmenter.classes)}; give another --model"
        )
    if (overlap := overlap_warning(segmenter.engine.metadata, model, names)) is not None:
        say(f"warning: {overlap}: there the network is surer than on others", err=True)
    # A network may answer with other last bits on another machine; the trials compare all the same.
    identity = {"list": names.name, "sha256": names.sha256, "model": model_sha256(model)}
    return NetworkSamples(segmenter, names.samples), identity


def _show_progress(update: Update, now: "Progress") -> None:
    best = f"best {_said(now.best)}" if now.best else ""
    update(now.done, now.total, label=now.stage, text=best)
    if now.finished and best:
        say(f"{now.stage}: {now.trials} trials, {best}", err=True)


def _report(result: "SearchResult", files: list[Path]) -> None:
    gain = 100 * (result.best.mean_iou - result.baseline)
    say(f"best: {_said(result.best)}; {100 * result.baseline:.2f} % without the CRF, {gain:+.2f}")
    if not result.converged:
        say("note: stopped before it settled; begin nearer to the best (--weight, --sxy, --srgb)", err=True)
    say("wrote " + ", ".join(map(str, files)))


def _said(trial: "Trial") -> str:
    return f"{100 * trial.mean_iou:.2f} % at weight {trial.weight:g}, sxy {trial.sxy:g}, srgb {trial.srgb:g}"


def _known(table: Path) -> int:
    """Trials in a table; what is wrong with it, the search says."""
    try:
        return max(0, table.read_bytes().count(b"\n") - 2)
    except OSError:
        return 0


def _numbers(name: str, text: str) -> list[float]:
    """Read `5,10` or `50:10:100` (start:step:stop, both ends included), or several with commas between."""
    numbers: list[float] = []
    try:
        for part in text.split(","):
            values = [float(value) for value in part.split(":")]
            if len(values) == 3:
                start, step, stop = values
                count = math.floor((stop - start) / step + 1e-9) + 1
                if not (step > 0 and 1 <= count <= _MOST_VALUES):
                    raise ValueError
                numbers += [start + i * step for i in range(count)]
            else:
                (value,) = values
                numbers.append(value)
    except (ValueError, ZeroDivisionError, OverflowError):
        numbers = []
    if not numbers or not all(0 < n < float("inf") for n in numbers):
        raise InputError(f"--{name} {text}: expected positive numbers with commas between, or start:step:stop")
    return numbers

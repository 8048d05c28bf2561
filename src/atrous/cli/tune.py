"""The command `atrous tune`."""

import dataclasses
import importlib.util
import json
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, as_input_error, installation
from .options import Classes, Colors, Model, Threads, Void, class_warning
from .progress import Update, progress_bar
from .terminal import print_line, print_notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..crf.tune import LabeledImage, Progress, SearchResult, Trial

# Maximum number of values in a range; more are probably a mistake.
_MOST_VALUES = 1000

# With fewer images, the best parameters depend on the choice of the images.
_FEW_IMAGES = 20

_HOLD_OUT = 100


def tune(
    data: Annotated[
        Path,
        typer.Argument(
            help="Labeled images: a PASCAL VOC folder, or images/, labels/ and classes.txt. Or outputs of any network:"
            " images/, scores/ (.npy, .npz) and masks/."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="JSON file for the best parameters, for atrous export --crf. All trials: .csv and .png beside it."
        ),
    ] = Path("crf.json"),
    model: Model = None,
    tune_list: Annotated[
        str | None, typer.Option("--list", help="List of images. Default: the training list of the data.")
    ] = None,
    hold_out: Annotated[
        int, typer.Option(min=0, help="Use the images of the list that training excluded with the same option. 0: all.")
    ] = _HOLD_OUT,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of images, evenly spaced. Default: all.")] = None,
    classes: Classes = None,
    colors: Colors = None,
    void: Void = None,
    weight: Annotated[str, typer.Option(help="First values of the bilateral weight.")] = "5,10",
    sxy: Annotated[
        str, typer.Option(help="First values of the bilateral sxy in pixels; start:step:stop.")
    ] = "50:10:100",
    srgb: Annotated[str, typer.Option(help="First values of the bilateral srgb in gray values.")] = "3:1:10",
    finer: Annotated[
        int, typer.Option(min=0, max=20, help="Number of times to halve the steps around the best trial.")
    ] = 2,
    iterations: Annotated[int, typer.Option(min=0, help="Number of mean-field steps.")] = 10,
    threads: Threads = None,
) -> None:
    """Search the CRF's parameters from coarse to fine, on images that the network was not trained on.

    Finished trials are saved in the .csv file; the same command resumes an interrupted search.
    """
    from .._io import write_text
    from ..crf.tune import search
    from ..data import CrfParameters

    if not out.name or out.suffix in (".csv", ".png"):
        raise InputError(
            f"--out {out}: expected a JSON name such as crf.json; the .csv and .png names are used for other outputs"
        )
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: expected an existing folder {out.parent}; create it first")
    table, heat_map = out.with_suffix(".csv"), out.with_suffix(".png")
    weights, sxys, srgbs = _numbers("weight", weight), _numbers("sxy", sxy), _numbers("srgb", srgb)
    for end in (min, max):  # detects values that could not be saved after hours
        try:
            CrfParameters(weight=end(weights), sxy=end(sxys), srgb=end(srgbs), iterations=iterations)
        except InputError as error:
            raise InputError(f"--{error}") from None
    samples, identity = _samples(
        data,
        model,
        tune_list,
        hold_out=hold_out,
        limit=limit,
        threads=threads,
        classes=classes,
        colors=colors,
        void=void or (),
    )
    drawn = importlib.util.find_spec("matplotlib") is not None
    if not drawn:
        print_line(f"note: {heat_map} needs matplotlib; {installation('plot')} and run the command again", err=True)
    before = _known(table)
    print_line(f"{len(samples)} images of {data}" + (f", {before} trials from {table}" if before else ""))
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
        print_line(
            f"error: interrupted; {_known(table)} trials are saved in {table}; run the same command again to resume",
            err=True,
        )
        raise typer.Exit(130) from None
    best = result.best
    found = CrfParameters(weight=best.weight, sxy=best.sxy, srgb=best.srgb, iterations=iterations)
    with as_input_error(out):
        write_text(out, json.dumps(dataclasses.asdict(found)) + "\n")
    if drawn:
        result.save_heat_map(heat_map)
    given = {"weight": weights, "sxy": sxys, "srgb": srgbs}
    _report(result, given, [out, table, *([heat_map] if drawn else [])])


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
    void: "Sequence[int]",
) -> "tuple[Sequence[LabeledImage], dict[str, str] | None]":
    """Return the labeled images of a folder, and their description if the files do not contain it."""
    from ..data import open_dataset
    from ..evaluation import FolderSamples, NetworkSamples, model_sha256, overlap_warning
    from ..segmenter import Segmenter

    if not data.is_dir():
        raise InputError(f"{data}: no such folder")
    if any((data / name).is_dir() for name in ("scores", "masks")):
        for option, given in {"model": model, "list": listed, "classes": classes, "colors": colors}.items():
            if given is not None:
                remedy = f"save the table as {data / 'colors.txt'}" if option == "colors" else "remove it"
                raise InputError(
                    f"--{option} {given}: expected no such option for {data}, which contains scores; {remedy}"
                )
        return FolderSamples(data, limit, void), None
    dataset = open_dataset(data, classes=classes, colors=colors, void=void)
    print_notes(dataset.notes)
    names = dataset.read(listed or dataset.default_training_list)
    if hold_out >= len(names):
        default = " (the default)" if hold_out == _HOLD_OUT else ""
        raise InputError(
            f"--hold-out {hold_out}{default}: expected fewer than the {len(names)} images of list {names.name}; pass"
            " --hold-out N, the number in training, or 0 for all images"
        )
    if hold_out:
        _, names = names.hold_out(hold_out)
    if limit is not None and limit < len(names):
        _, names = names.hold_out(limit)
    segmenter = Segmenter(model, crf=None, threads=threads)
    if (other := class_warning(data, dataset.classes, segmenter.classes)) is not None:
        print_line(f"warning: {other}", err=True)
    if (overlap := overlap_warning(segmenter.engine.metadata, model, names)) is not None:
        print_line(f"warning: {overlap}: the network is more certain there than on other images", err=True)
    # Results may differ in the last bits between machines. The trials are comparable anyway.
    identity = {"list": names.name, "sha256": names.sha256, "model": model_sha256(model)}
    if dataset.void:
        identity["void"] = ", ".join(map(str, dataset.void))
    return NetworkSamples(segmenter, names.samples), identity


def _show_progress(update: Update, now: "Progress") -> None:
    best = f"best {_described(now.best)}" if now.best else ""
    update(now.done, now.total, label=now.stage, text=best)
    if now.finished and best:
        print_line(f"{now.stage}: {now.trials} trials, {best}", err=True)


def _report(result: "SearchResult", given: dict[str, list[float]], files: list[Path]) -> None:
    from ..evaluation import paired_bootstrap

    found = paired_bootstrap(*result.counts())
    gain, low, high = (f"{100 * value:+.2f}" for value in (found.gain, found.low, found.high))
    alone = f"{100 * result.baseline:.2f} % without the CRF"
    print_line(f"best: {_described(result.best)}; {alone}, {gain} (95 % interval over the images: {low} to {high})")
    if found.low <= 0:
        print_line("note: on other images the CRF may not gain with these parameters; use more images", err=True)
    if not result.converged:
        print_line(
            "note: the search did not converge; start closer to the best trial (--weight, --sxy, --srgb)", err=True
        )
    for name, values in given.items():
        value = getattr(result.best, name)
        if len(values) > 1 and not min(values) / 2 <= value <= 2 * max(values):
            print_line(
                f"note: {name} {value:g} lies far outside the first values, {min(values):g} to {max(values):g}; check"
                f" the results, or fix it with --{name} {min(values):g}",
                err=True,
            )
    if result.images < _FEW_IMAGES:
        print_line(
            f"note: {result.images} images are few; the best parameters of other images may differ (use"
            f" {_FEW_IMAGES} or more)",
            err=True,
        )
    print_line("wrote " + ", ".join(map(str, files)))


def _described(trial: "Trial") -> str:
    return f"{100 * trial.mean_iou:.2f} % at weight {trial.weight:g}, sxy {trial.sxy:g}, srgb {trial.srgb:g}"


def _known(table: Path) -> int:
    """Return the number of trials in a table. The search reports damaged tables."""
    try:
        return max(0, table.read_bytes().count(b"\n") - 2)
    except OSError:
        return 0


def _numbers(name: str, text: str) -> list[float]:
    """Parse `5,10` or `50:10:100` (start:step:stop, including both ends), or several of these separated by commas."""
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
        raise InputError(f"--{name} {text}: expected positive numbers separated by commas, or start:step:stop")
    return numbers

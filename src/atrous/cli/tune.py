"""`atrous tune`."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError


def tune(
    data: Annotated[Path, typer.Argument(help="A PASCAL VOC 2012 folder.")],
    out: Annotated[Path, typer.Option(help="Where to write the best parameters, as JSON for atrous export --crf.")],
    model: Annotated[Path | None, typer.Option(help="Exported .onnx or checkpoint folder.")] = None,
    tune_list: Annotated[str, typer.Option("--list", help="List of images.")] = "train_aug",
    hold_out: Annotated[int, typer.Option(help="The images that training left out by the same option.")] = 100,
    limit: Annotated[int | None, typer.Option(min=1, help="Only that many of them, evenly spaced.")] = None,
    weight: Annotated[str, typer.Option(help="Bilateral weights to try.")] = "3,5,8",
    sxy: Annotated[str, typer.Option(help="Bilateral sxy to try, pixels.")] = "50,80,121",
    srgb: Annotated[str, typer.Option(help="Bilateral srgb to try, grey values.")] = "3,5,8",
    threads: Annotated[int | None, typer.Option(help="Default: all cores.")] = None,
) -> None:
    """Search the CRF's parameters on images that the network was not trained on."""
    from ..atomic import replacing
    from ..data.voc import read_list
    from ..evaluation.tune import grid, search
    from ..segmenter import Segmenter

    candidates = grid(*(_numbers(n, v) for n, v in (("weight", weight), ("sxy", sxy), ("srgb", srgb))))
    _, samples = read_list(data, tune_list).hold_out(hold_out)
    if limit is not None:
        _, samples = samples.hold_out(limit)
    segmenter = Segmenter(model, crf=None, threads=threads)
    typer.echo(f"{len(candidates)} candidates on {len(samples)} images of {samples.name}")
    typer.echo("weight    sxy   srgb   mean IoU %")
    trials = search(
        segmenter,
        samples.samples,
        candidates,
        done=lambda t: typer.echo(
            f"{t.parameters.weight:>6g} {t.parameters.sxy:>6g} {t.parameters.srgb:>6g} {100 * t.mean_iou:>12.2f}"
        ),
    )
    best = trials[0]
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(best.parameters)) + "\n")
    typer.echo(f"best: {best.parameters}, mean IoU {100 * best.mean_iou:.2f} %")


def _numbers(name: str, text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < n < float("inf") for n in numbers):
        raise InputError(f"--{name} {text}: expected positive numbers with commas between, such as 3,5,8")
    return numbers

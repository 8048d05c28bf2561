"""`atrous evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..evaluation.evaluate import Evaluation


def evaluate(
    data: Annotated[Path, typer.Argument(help="A PASCAL VOC 2012 folder.")],
    model: Annotated[
        Path | None, typer.Option(help="Exported .onnx or checkpoint folder instead of the bundled model.")
    ] = None,
    eval_list: Annotated[str, typer.Option("--list", help="List of images to score.")] = "val",
    crf: Annotated[bool, typer.Option("--crf/--no-crf", help="Score the CRF's result too.")] = True,
    preset: Annotated[str | None, typer.Option(help="A released model's CRF instead of the model's own.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only that many images, evenly spaced along the list.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Default: all cores.")] = None,
) -> None:
    """Score a model on labelled images: IoU per class without and with the CRF."""
    from rich.console import Console
    from rich.progress import Progress

    from ..data.voc import read_list
    from ..evaluation.evaluate import evaluate as run
    from ..segmenter import Segmenter

    samples = read_list(data, eval_list)
    if limit is not None:
        _, samples = samples.hold_out(limit) if limit < len(samples) else (samples, samples)
    segmenter = Segmenter(model, crf=(preset or "model") if crf else None, threads=threads)
    console = Console()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("scoring", total=len(samples))
        result = run(segmenter, samples.samples, done=lambda n: progress.update(task, completed=n))
    console.print(table(result, segmenter.classes), highlight=False, markup=False)


def table(result: "Evaluation", classes: tuple[str, ...]) -> str:
    """Return IoU per class, their mean and the pixel accuracy, in per cent, as aligned text."""
    columns = {"DCNN": result.dcnn} | ({"with CRF": result.crf} if result.crf is not None else {})
    width = max(map(len, (*classes, "pixel accuracy")))
    lines = [f"{'IoU in %':<{width}}" + "".join(f"{name:>10}" for name in columns)]
    scores = [matrix.iou() for matrix in columns.values()]
    for c, name in enumerate(classes):
        lines.append(f"{name:<{width}}" + "".join(f"{100 * iou[c]:>10.2f}" for iou in scores))
    for name, values in (
        ("mean", [matrix.mean_iou() for matrix in columns.values()]),
        ("pixel accuracy", [matrix.pixel_accuracy() for matrix in columns.values()]),
    ):
        lines.append(f"{name:<{width}}" + "".join(f"{100 * value:>10.2f}" for value in values))
    lines.append(f"over {result.images} images")
    return "\n".join(lines)

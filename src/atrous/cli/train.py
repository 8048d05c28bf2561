"""`atrous train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._distributed import TorchrunProcess
from ..errors import InputError
from .options import Classes, Colors
from .terminal import say

if TYPE_CHECKING:
    from ..data import Dataset, ImageList

# Of --soft-targets: masks and the other network count the same.
_SOFT_WEIGHT = 0.5


def train(
    data: Annotated[Path, typer.Argument(help="A PASCAL VOC folder, or one with images, labels and classes.txt.")],
    out: Annotated[Path, typer.Option(help="The run's folder; an unfinished run in it is resumed.")],
    # Not --start: torchrun would take that for an option of its own.
    weights: Annotated[
        Path | None,
        typer.Option(
            help="First weights: a file of VGG-16 or of DeepLab, an exported .onnx, a checkpoint folder, or the word"
            " bundled for the model that ships."
        ),
    ] = None,
    soft_targets: Annotated[
        Path | None,
        typer.Option(help="Folder with another network's scores (NAME.npy or .npz) for each image, to learn from too."),
    ] = None,
    soft_weight: Annotated[
        float | None, typer.Option(help="Share of the soft targets, 0 to 1. Default: 0.5 with --soft-targets.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="paper, poly, msc, cpu, or a .toml file.")] = "paper",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change any of the recipe's settings.")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="Which network of the paper.")] = None,
    multiscale: Annotated[
        bool | None, typer.Option("--multiscale/--no-multiscale", help="Multi-scale prediction.")
    ] = None,
    crop: Annotated[int | None, typer.Option(help="Side of the crops, 8 k - 7.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops in a step, over all processes.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Base learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    train_list: Annotated[
        str | None, typer.Option("--list", help="List of training images; default: train_aug, or train.")
    ] = None,
    hold_out: Annotated[
        int, typer.Option(min=0, help="Images, evenly spaced along the list, left out for tuning the CRF.")
    ] = 0,
    evaluate_list: Annotated[str | None, typer.Option(help="List that is scored on the way; default: val.")] = None,
    evaluate_every: Annotated[
        int, typer.Option(min=0, help="Steps between scorings; the end is one. 0: none at all.")
    ] = 0,
    evaluate_images: Annotated[
        int | None, typer.Option(min=1, help="Score only that many, evenly spaced along the list.")
    ] = None,
    allow_overlap: Annotated[bool, typer.Option(help="Train on images of the evaluation list too.")] = False,
    classes: Classes = None,
    colors: Colors = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda. Default: GPUs if there is one for each process, or the CPU.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of a CPU run.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that cut crops.")] = 1,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 100,
) -> None:
    """Train a network. Run again to resume. Under torchrun, the processes divide each step's crops."""
    from ..data import open_dataset
    from ..training import RunOptions, checkpoint_folder, parsed_setting, read_recipe
    from ..training import train as run
    from .options import weights_path

    if evaluate_images is not None and not evaluate_every:
        raise InputError(
            f"--evaluate-images {evaluate_images}: is of the scorings on the way; give --evaluate-every too"
        )
    given: dict[str, Any] = dict(map(parsed_setting, settings or ()))
    options = {
        "variant": variant,
        "multiscale": multiscale,
        "crop": crop,
        "batch": batch,
        "iterations": iterations,
        "learning_rate": learning_rate,
        "seed": seed,
        "soft_weight": soft_weight,
    }
    plan = read_recipe(recipe).changed(given | {k: v for k, v in options.items() if v is not None})
    if soft_targets is not None and soft_weight is None and not plan.soft_weight:
        plan = plan.changed({"soft_weight": _SOFT_WEIGHT})
    if (soft_targets is None) != (plan.soft_weight == 0):
        raise InputError(f"--soft-weight {plan.soft_weight:g}: expected --soft-targets FOLDER with a weight above 0")
    dataset = open_dataset(data, classes=classes, colors=colors)
    samples = dataset.read(train_list or dataset.default_training_list, unlabeled=soft_targets is not None)
    if hold_out:
        samples, _ = samples.hold_out(hold_out)
    validation = _validation(dataset, evaluate_list, samples, scored=bool(evaluate_every), allow_overlap=allow_overlap)
    if validation is not None:
        if not allow_overlap:
            _check_apart(samples, validation)
        if evaluate_images is not None and evaluate_images < len(validation):
            _, validation = validation.hold_out(evaluate_images)
    newest = run(
        out,
        samples,
        plan,
        dataset,
        start=None if weights is None else weights_path(weights),
        soft_targets=soft_targets,
        options=RunOptions(
            device=device,
            threads=threads,
            workers=workers,
            save_every=save_every,
            validation=validation if evaluate_every else None,
            evaluate_every=evaluate_every or 1,
        ),
    )
    if newest.name != checkpoint_folder(out, plan.iterations).name:
        raise typer.Exit(130)
    if TorchrunProcess.from_environment().rank == 0:
        say(newest)


def _check_apart(samples: "ImageList", validation: "ImageList") -> None:
    shared = sorted({s.name for s in samples.samples} & {s.name for s in validation.samples})
    if shared:
        raise InputError(
            f"list {samples.name}: {len(shared)} of its images are in list {validation.name} too ({shared[0]}, ...), so"
            " scores on that would say nothing; take them off, or give --allow-overlap"
        )


def _validation(
    dataset: "Dataset", name: str | None, samples: "ImageList", *, scored: bool, allow_overlap: bool
) -> "ImageList | None":
    """Return the list that is scored, or that the training list must not share images with; None if there is none."""
    usual = dataset.default_evaluation_list
    if name is not None or scored:
        return dataset.read(name or usual)
    if allow_overlap or usual not in dataset.lists():
        return None
    try:
        return dataset.read(usual)
    except InputError as error:  # nobody asked for scores on it
        if TorchrunProcess.from_environment().rank == 0:
            say(f"warning: list {samples.name} is not checked for images of {usual}: {error}", err=True)
        return None

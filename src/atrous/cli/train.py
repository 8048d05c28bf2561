"""The command `atrous train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._distributed import TorchrunProcess
from ..errors import InputError
from .options import Classes, Colors, Void
from .terminal import print_line, print_notes

if TYPE_CHECKING:
    from ..data import Dataset, ImageList

# Default of --soft-weight with --soft-targets: masks and soft targets have equal weight.
_SOFT_WEIGHT = 0.5


def train(
    data: Annotated[Path, typer.Argument(help="A PASCAL VOC folder, or one with images, labels and classes.txt.")],
    out: Annotated[Path, typer.Option(help="The run's folder; an unfinished run in it is resumed.")],
    # Not --start, which torchrun would interpret as its own option.
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Initial weights: a file of VGG-16 or DeepLab, an exported .onnx, a checkpoint folder, or the word"
            " bundled for the bundled model."
        ),
    ] = None,
    soft_targets: Annotated[
        Path | None,
        typer.Option(help="Folder of another network's scores (NAME.npy or .npz) as soft targets."),
    ] = None,
    soft_weight: Annotated[
        float | None, typer.Option(help="Weight of the soft targets, 0 to 1. Default: 0.5 with --soft-targets.")
    ] = None,
    crf_loss: Annotated[
        float | None,
        typer.Option(help="Weight of the fully connected CRF's loss, such as 0.5; for sparse labels. Default: 0."),
    ] = None,
    crf_layer: Annotated[
        bool | None,
        typer.Option(
            "--crf-layer/--no-crf-layer",
            help="Whether to put the CRF on top of the network and to train both together, from a trained network.",
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="Recipe: paper, poly, msc, cpu, end-to-end, or a .toml file.")] = "paper",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting of the recipe; may be repeated."),
    ] = None,
    variant: Annotated[str | None, typer.Option(help="Network of the paper, such as deeplab-largefov.")] = None,
    multiscale: Annotated[
        bool | None, typer.Option("--multiscale/--no-multiscale", help="Whether to use multi-scale prediction.")
    ] = None,
    crop: Annotated[int | None, typer.Option(help="Side of the crops in pixels, 8 k - 7.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops per step, over all processes.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Base learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None,
    train_list: Annotated[
        str | None, typer.Option("--list", help="List of training images. Default: train_aug or train.")
    ] = None,
    hold_out: Annotated[
        int,
        typer.Option(
            min=0, help="Number of images, evenly spaced in the list, to exclude from training for tuning the CRF."
        ),
    ] = 0,
    evaluate_list: Annotated[str | None, typer.Option(help="List to score during training. Default: val.")] = None,
    evaluate_every: Annotated[
        int, typer.Option(min=0, help="Steps between evaluations; the last step is evaluated, too. 0: no evaluation.")
    ] = 0,
    evaluate_images: Annotated[
        int | None, typer.Option(min=1, help="Number of images to score, evenly spaced in the list. Default: all.")
    ] = None,
    allow_overlap: Annotated[bool, typer.Option(help="Allow training on images of the evaluation list.")] = False,
    classes: Classes = None,
    colors: Colors = None,
    void: Void = None,
    device: Annotated[
        str | None, typer.Option(help="Device: cpu or cuda. Default: GPUs if there is one per process, else the CPU.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads for training on a CPU.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Number of data-loading processes.")] = 1,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 100,
) -> None:
    """Train a network. Run again to resume. Under torchrun, the processes divide each step's crops."""
    from ..data import open_dataset
    from ..training import RunOptions, checkpoint_folder, parsed_setting, read_recipe
    from ..training import train as run
    from .options import weights_path

    if evaluate_images is not None and not evaluate_every:
        raise InputError(f"--evaluate-images {evaluate_images}: expected --evaluate-every with it")
    given: dict[str, Any] = dict(map(parsed_setting, setting or ()))
    options = {
        "variant": variant,
        "multiscale": multiscale,
        "crop": crop,
        "batch": batch,
        "iterations": iterations,
        "learning_rate": learning_rate,
        "seed": seed,
        "soft_weight": soft_weight,
        "crf_loss": crf_loss,
    }
    plan = read_recipe(recipe).changed(given | {k: v for k, v in options.items() if v is not None})
    if crf_layer is not None and crf_layer != bool(plan.crf_steps):
        plan = plan.changed({"crf_steps": read_recipe("end-to-end").crf_steps if crf_layer else 0})
    if soft_targets is not None and soft_weight is None and not plan.soft_weight:
        plan = plan.changed({"soft_weight": _SOFT_WEIGHT})
    if (soft_targets is None) != (plan.soft_weight == 0):
        raise InputError(f"--soft-weight {plan.soft_weight:g}: expected --soft-targets FOLDER with a weight above 0")
    dataset = open_dataset(data, classes=classes, colors=colors, void=void or ())
    if TorchrunProcess.from_environment().rank == 0:
        print_notes(dataset.notes)
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
        print_line(newest)


def _check_apart(samples: "ImageList", validation: "ImageList") -> None:
    shared = sorted({s.name for s in samples.samples} & {s.name for s in validation.samples})
    if shared:
        raise InputError(
            f"list {samples.name}: expected no images of list {validation.name}, got {len(shared)} ({shared[0]}, ...);"
            " remove them, or use --allow-overlap"
        )


def _validation(
    dataset: "Dataset", name: str | None, samples: "ImageList", *, scored: bool, allow_overlap: bool
) -> "ImageList | None":
    """Return the list to score or to compare with the training list; None if there is none."""
    usual = dataset.default_evaluation_list
    if name is not None or scored:
        return dataset.read(name or usual)
    if allow_overlap or usual not in dataset.lists():
        return None
    try:
        return dataset.read(usual)
    except InputError as error:  # the user did not request scores on it
        if TorchrunProcess.from_environment().rank == 0:
            print_line(f"warning: list {samples.name} was not checked for images of {usual}: {error}", err=True)
        return None

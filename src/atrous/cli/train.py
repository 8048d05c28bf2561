"""`atrous train`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer


def train(
    data: Annotated[Path, typer.Argument(help="A PASCAL VOC 2012 folder.")],
    out: Annotated[Path, typer.Option(help="The run's folder; an unfinished run in it is resumed.")],
    train_list: Annotated[str, typer.Option("--list", help="List of training images.")] = "train_aug",
    hold_out: Annotated[
        int, typer.Option(help="Images, evenly spaced along the list, left out for tuning the CRF.")
    ] = 0,
    vgg: Annotated[Path | None, typer.Option(help="VGG-16's ImageNet convolutions, safetensors.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Checkpoint to start from instead.")] = None,
    recipe: Annotated[str, typer.Option(help="'paper' or 'cpu'.")] = "paper",
    crop: Annotated[int | None, typer.Option(help="Side of the crops, 32 k - 31.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops in a step.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Steps.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Base learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="Threads of a CPU run.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that cut crops.")] = 1,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 100,
) -> None:
    """Train a network on a VOC folder. Run again to resume."""
    from ..data.metadata import VOC_CLASSES
    from ..data.voc import read_list
    from ..errors import InputError
    from ..training.loop import train as run
    from ..training.recipe import RECIPES

    if recipe not in RECIPES:
        raise InputError(f"--recipe {recipe}: unknown; expected one of {', '.join(RECIPES)}")
    overrides: dict[str, Any] = {
        "crop": crop,
        "batch": batch,
        "iterations": iterations,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    settings = dataclasses.replace(RECIPES[recipe], **{k: v for k, v in overrides.items() if v is not None})
    samples = read_list(data, train_list)
    if hold_out:
        samples, _ = samples.hold_out(hold_out)
    run(
        out,
        samples,
        settings,
        VOC_CLASSES,
        vgg=vgg,
        weights=weights,
        device=device,
        threads=threads,
        workers=workers,
        save_every=save_every,
    )

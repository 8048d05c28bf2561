"""`atrous export`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A training checkpoint's folder.")],
    out: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The file to write.")],
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Labelled photos, which fix int8's ranges; without them, float32."),
    ] = None,
    calibrate_list: Annotated[
        str | None, typer.Option("--list", help="List of images to calibrate on; default: the data's training list.")
    ] = None,
    classes: Annotated[Path | None, typer.Option(help="Class list instead of the folder's own.")] = None,
    images: Annotated[int, typer.Option(min=1, help="How many of them, evenly spaced.")] = 48,
    crf: Annotated[Path | None, typer.Option(help="CRF parameters as written by atrous tune.")] = None,
    notes: Annotated[str, typer.Option(help="Where the weights come from, under which terms.")] = "",
) -> None:
    """Write a checkpoint as one ONNX file that runs without PyTorch."""
    import dataclasses

    from ..data.dataset import open_dataset
    from ..data.images import read_image
    from ..data.metadata import CrfParameters
    from ..network.engine import TorchEngine
    from ..network.export import export_float, export_int8

    engine = TorchEngine.read(checkpoint)
    metadata = dataclasses.replace(engine.metadata, notes=notes)
    if crf is not None:
        try:
            metadata = dataclasses.replace(metadata, crf=CrfParameters(**json.loads(crf.read_text())))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{crf}: expected CRF parameters as JSON from atrous tune ({error})") from None
    if calibrate is None:
        export_float(engine.net, out, metadata)
    else:
        dataset = open_dataset(calibrate, classes=classes)
        samples = dataset.read(calibrate_list or dataset.default_training_list)
        if images < len(samples):
            _, samples = samples.hold_out(images)
        photos = [read_image(sample.image) for sample in samples.samples]
        export_int8(engine.net, out, dataclasses.replace(metadata, precision="int8"), photos)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")

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
        Path | None, typer.Option(help="VOC folder whose training images fix int8's ranges; without it, float32.")
    ] = None,
    calibrate_list: Annotated[str, typer.Option("--list", help="List of images to calibrate on.")] = "train_aug",
    images: Annotated[int, typer.Option(help="How many of them, evenly spaced.")] = 48,
    crf: Annotated[Path | None, typer.Option(help="CRF parameters as written by atrous tune.")] = None,
    notes: Annotated[str, typer.Option(help="Where the weights come from, under which terms.")] = "",
) -> None:
    """Write a checkpoint as one ONNX file that runs without PyTorch."""
    import dataclasses

    from ..data.images import read_image
    from ..data.metadata import CrfParameters
    from ..data.voc import read_list
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
        _, samples = read_list(calibrate, calibrate_list).hold_out(images)
        photos = [read_image(sample.image) for sample in samples.samples]
        export_int8(engine.net, out, dataclasses.replace(metadata, precision="int8"), photos)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")

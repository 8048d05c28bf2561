"""`atrous convert`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .terminal import say, show


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="VGG-16 or DeepLab: .safetensors, .pth, .caffemodel, .onnx, a checkpoint; or bundled."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT",
            help="A .safetensors file to train from, or a new checkpoint folder that runs; "
            "without it, only tell what is in IN.",
        ),
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="deeplab-largefov (default), deeplab, deeplab-4x4 or deeplab-7x7.")
    ] = None,
    classes: Annotated[int | None, typer.Option(min=2, help="Background included; default 21.")] = None,
    class_names: Annotated[
        Path | None, typer.Option(help="For a folder: the names, one a line, background first; default VOC's.")
    ] = None,
    multiscale: Annotated[
        bool | None, typer.Option("--multiscale/--one-scale", help="With the branches of multi-scale prediction.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of what is drawn at random.")] = 0,
    subset: Annotated[
        Literal["random", "fourth"], typer.Option(help="Channels that a narrower fc6 and fc7 keep.")
    ] = "random",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there.")] = False,
) -> None:
    """Turn any file that training can start from into one of ours; a finished model also to run."""
    from ..data import read_classes
    from ..network import convert as run
    from .options import weights_path

    done = run(
        weights_path(source),
        out,
        variant=variant,
        classes=classes,
        class_names=None if class_names is None else read_classes(class_names),
        multiscale=multiscale,
        seed=seed,
        subset=subset,
        overwrite=overwrite,
    )
    show(done.report())
    if out is not None:
        size = sum(file.stat().st_size for file in (out.iterdir() if out.is_dir() else [out]))
        say(f"wrote {out}: {size / 1e6:.1f} MB")

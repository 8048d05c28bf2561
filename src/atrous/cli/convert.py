"""The command `atrous convert`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .terminal import print_line, print_text


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
            help="A .safetensors file to train from, or a new checkpoint folder that can run. "
            "Default: only print the contents of IN.",
        ),
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="deeplab-largefov (default), deeplab, deeplab-4x4 or deeplab-7x7.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=2, help="Number of classes, including the background. Default: 21.")
    ] = None,
    class_names: Annotated[
        Path | None, typer.Option(help="Class names for a folder, one per line, background first. Default: VOC's.")
    ] = None,
    multiscale: Annotated[
        bool | None,
        typer.Option("--multiscale/--one-scale", help="Whether to add the branches of multi-scale prediction."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random initialization.")] = 0,
    subset: Annotated[
        Literal["random", "fourth"], typer.Option(help="Selection of channels for a narrower fc6 and fc7.")
    ] = "random",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing OUT.")] = False,
) -> None:
    """Convert any weight file that training can start from; a complete model also becomes a folder that runs."""
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
    print_text(done.report())
    if out is not None:
        size = sum(file.stat().st_size for file in (out.iterdir() if out.is_dir() else [out]))
        print_line(f"wrote {out}: {size / 1e6:.1f} MB")

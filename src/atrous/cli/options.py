"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError

Model = Annotated[Path | None, typer.Option(help="Exported .onnx or checkpoint folder instead of the bundled model.")]
MaxSide = Annotated[int, typer.Option(help="Scale larger photos down to this for the network.")]
Threads = Annotated[int | None, typer.Option(help="Number of CPU threads. Default: all cores.")]
Device = Annotated[
    str | None,
    typer.Option(help="Device of the network: cpu, cuda or cuda:N. Default: a GPU that can be used, or the CPU."),
]
Engine = Annotated[
    str | None,
    typer.Option(help="Runtime of an exported model: onnxruntime or openvino. Default: the faster installed one."),
]
MinRegion = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Merge regions of fewer pixels into their largest neighbor; 0: none. Default: 30 for 513 x 513 pixels,"
        " more for larger photos.",
    ),
]
Opacity = Annotated[float, typer.Option(metavar="SHARE", help="Opacity of the colors in overlays, 0 to 1.")]
OverlayColors = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Color table of overlays, lines such as 'cat 255 180 0'.")
]
Classes = Annotated[Path | None, typer.Option(help="Class list instead of the folder's own.")]
Colors = Annotated[Path | None, typer.Option(help="Color table of masks that are drawn in colors.")]

BUNDLED = "bundled"


def weights_path(given: Path) -> Path:
    """Return the path of a weights argument; the word "bundled" names the model that ships with the package."""
    from ..backends import bundled_model_path

    return bundled_model_path() if str(given) == BUNDLED else given


def check_output(option: str, path: Path | None) -> None:
    """Raise InputError if an option's file cannot be written, before any work is done for it."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise InputError(f"--{option} {path}: expected a file's name in a folder that is there")

"""Options and arguments shared by several commands."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Model = Annotated[
    Path | None, typer.Option(help="Exported .onnx file or checkpoint folder. Default: the bundled model.")
]
MaxSide = Annotated[int, typer.Option(help="Longest side for the network, in pixels. Larger images are scaled down.")]
MaxCrfPixels = Annotated[
    int,
    typer.Option(
        metavar="PIXELS",
        min=0,
        help="Largest photo whose CRF runs on each pixel; larger ones use means of 2 x 2 (4 x 4, ...) pixels. 0: no"
        " limit.",
    ),
]
Threads = Annotated[int | None, typer.Option(help="Number of CPU threads. Default: all cores.")]
Device = Annotated[
    str | None,
    typer.Option(help="Device of the network: cpu, cuda or cuda:N. Default: a GPU if one is available, else the CPU."),
]
Engine = Annotated[
    str | None,
    typer.Option(help="Runtime of an exported model: onnxruntime or openvino. Default: the faster installed one."),
]
MinRegion = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        min=0,
        help="Merge regions of fewer pixels into their largest neighbor; 0: none. Default: 30 for 513 x 513 pixels,"
        " more for larger photos.",
    ),
]
Opacity = Annotated[
    float, typer.Option(metavar="SHARE", min=0, max=1, help="Opacity of the colors in overlays, 0 to 1.")
]
OverlayColors = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Colors of classes in overlays, lines such as 'cat 255 180 0'.")
]
Classes = Annotated[Path | None, typer.Option(help="Class list. Default: that of the folder.")]
Colors = Annotated[Path | None, typer.Option(help="Color table of masks that are drawn in colors.")]

Void = Annotated[
    list[int] | None,
    typer.Option(
        "--void",
        metavar="ID",
        min=0,
        max=255,
        help="Id in masks that means void, besides 255 and classes called void, unlabeled or ignore; may be repeated.",
    ),
]

BUNDLED = "bundled"


def weights_path(given: Path) -> Path:
    """Return the path of a weights argument. The word "bundled" stands for the bundled model."""
    from ..backends import bundled_model_path

    return bundled_model_path() if str(given) == BUNDLED else given


def overlay_colors(path: Path, classes: Sequence[str], palette: "ArrayLike") -> "NDArray[np.uint8]":
    """Return the colors of overlays, (classes, 3): those of a color table, else those that overlays have without it."""
    from ..labelmap import overlay_palette, read_color_table

    table, _ = read_color_table(path, tuple(classes), complete=False)
    return table.palette(len(classes), overlay_palette(palette))


def check_output(option: str, path: Path | None) -> None:
    """Raise InputError if an option's file cannot be written, before the work starts."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise InputError(f"--{option} {path}: expected a file name in an existing folder")


def class_warning(data: Path, classes: tuple[str, ...], model: tuple[str, ...]) -> str | None:
    """Compare the class names of a data set with a model's; return a warning if they differ.

    Raises
    ------
    InputError
        If their number differs, no name agrees, or the model has a name under another id.
    """
    theirs = f"{', '.join(model[:3])}{', ...' if len(model) > 3 else ''}"
    ours = f"{', '.join(classes[:3])}{', ...' if len(classes) > 3 else ''}"
    if len(classes) != len(model):
        raise InputError(
            f"{data}: expected {len(model)} classes as in the model ({theirs}), got {len(classes)} ({ours}); use data"
            " with the model's classes, or another model"
        )
    remedy = "use data with the model's classes, or pass --classes FILE with the model's names if the ids mean the same"
    known, names = ([_comparable(name) for name in given] for given in (model, classes))
    differing = [c for c, name in enumerate(names) if name != known[c]]
    if len(differing) == len(model):
        raise InputError(f"{data}: expected the classes of the model ({theirs}), got {ours}; {remedy}")
    for c in differing:
        if names[c] in known:
            raise InputError(
                f"{data}: expected {model[c]} as class {c}, as in the model, got {classes[c]}, which is the model's"
                f" class {known.index(names[c])}; {remedy}"
            )
    if not differing:
        return None
    others = f", and {len(differing) - 1} more differ" if len(differing) > 1 else ""
    return f"class {differing[0]} is {classes[differing[0]]} in {data}, but {model[differing[0]]} in the model{others}"


def _comparable(name: str) -> str:
    """Return a class name in the form that is the same for all of its spellings."""
    from ..labelmap import display_name, is_background

    return "background" if is_background(name) else display_name(name.lower())

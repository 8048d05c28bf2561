"""The command `atrous refine`."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError, as_input_error
from .options import MinRegion, Opacity, OverlayColors, Threads, overlay_colors
from .terminal import print_line


def refine(
    image: Annotated[Path, typer.Argument(help="The photo.")],
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="PROBS",
            help="Output of any network: probabilities (C, H, W) or (H, W, C), of a foreground (H, W), or ids, .npy or"
            " .npz; or a PNG of ids, a mask or a soft matte.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the mask and its overlay.")] = Path(
        "segmentation"
    ),
    preset: Annotated[
        str | None, typer.Option(help="Parameters of a released model, such as deeplab-largefov.")
    ] = None,
    tuned: Annotated[
        Path | None, typer.Option("--crf", metavar="FILE", help="Parameters from atrous tune (.json).")
    ] = None,
    weight: Annotated[float | None, typer.Option(help="Weight of the bilateral kernel [4].")] = None,
    sxy: Annotated[
        float | None, typer.Option(help="Standard deviation of the bilateral kernel in pixels [121].")
    ] = None,
    srgb: Annotated[
        float | None, typer.Option(help="Standard deviation of the bilateral kernel in gray values [5].")
    ] = None,
    spatial_weight: Annotated[float | None, typer.Option(help="Weight of the spatial kernel [3].")] = None,
    spatial_sxy: Annotated[
        float | None, typer.Option(help="Standard deviation of the spatial kernel in pixels [3].")
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Number of mean-field steps [10].")] = None,
    normalization: Annotated[
        str | None, typer.Option(help="Normalization of the kernels: after, symmetric, before or none [after].")
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(help="Probability of ids or of a mask's labels, above 1 / classes and below 1 [0.7]."),
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="Class list, one name per line. Default: VOC's for probabilities of 21 classes.")
    ] = None,
    threads: Threads = None,
    overlay: Annotated[bool, typer.Option("--overlay/--no-overlay", help="Also write photo.overlay.jpg.")] = True,
    probabilities: Annotated[bool, typer.Option(help="Also write photo.probabilities.npy (float16).")] = False,
    min_region: MinRegion = None,
    opacity: Opacity = 0.45,
    colors: OverlayColors = None,
    overwrite: Annotated[bool, typer.Option(help="Replace outputs that exist.")] = False,
) -> None:
    """Refine the output of any network with the fully connected CRF."""
    from ..crf import DenseCRF, most_vertices
    from ..data import CrfParameters, class_names, read_probabilities
    from ..image_io import read_image
    from ..labelmap import voc_palette
    from ..segmenter import Segmentation
    from .jobs import Job, file_keys, image_unfinished, listed_classes, report_line

    started = time.perf_counter()
    job = Job(image, Path(image.stem))
    inputs = file_keys(path for path in (image, labels, classes) if path is not None)
    if not image_unfinished(job, out, inputs, overlay=overlay, probabilities=probabilities, overwrite=overwrite):
        raise InputError(f"{out / job.name}.png: exists; use --overwrite to replace it, or another --out")
    if tuned is not None and preset is not None:
        raise InputError(f"--crf {tuned}: expected no --preset with it, got {preset}; remove one of them")
    # Single options override values of the file or the preset.
    options: dict[str, Any] = {
        "weight": weight,
        "sxy": sxy,
        "srgb": srgb,
        "spatial_weight": spatial_weight,
        "spatial_sxy": spatial_sxy,
        "iterations": iterations,
        "normalization": normalization,
    }
    base = CrfParameters.read(tuned) if tuned is not None else CrfParameters.of_preset(preset or "deeplab-largefov")
    parameters = replace(base, **{name: value for name, value in options.items() if value is not None})
    pixels = read_image(image)
    planes, ids = read_probabilities(labels, pixels.shape[:2], confidence)
    crf = DenseCRF(
        pixels,
        parameters.kernels,
        iterations=parameters.iterations,
        normalization=parameters.normalization,
        threads=threads,
        max_vertices=most_vertices(pixels, parameters.kernels),
    )
    count = int(ids.max()) + 1
    names = class_names(classes, count, ids=count > len(ids) or labels.suffix.lower() not in (".npy", ".npz"))
    palette = tuple((int(r), int(g), int(b)) for r, g, b in voc_palette(len(names)))
    drawn = None if colors is None else overlay_colors(colors, names, palette)
    result = Segmentation(
        pixels, crf(planes), names, palette, image, ids, reduction=crf.reduction, min_region=min_region
    )
    with as_input_error(out):
        result.save(out, overlay=overlay, probabilities=probabilities, opacity=opacity, palette=drawn)
    found = listed_classes(result.shares(), "background alone")
    print_line(report_line(image, found, time.perf_counter() - started, result.reduction))

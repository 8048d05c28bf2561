"""`atrous refine`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .options import MinRegion, Opacity, OverlayColors, Threads
from .terminal import say


def refine(
    image: Annotated[Path, typer.Argument(help="The photo.")],
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="PROBS",
            help="Any network's output: probabilities (C, H, W) or (H, W, C), .npy or .npz; or an index PNG of labels.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the mask and its overlay.")] = Path(
        "segmentation"
    ),
    preset: Annotated[str | None, typer.Option(help="A released model's parameters, such as deeplab-largefov.")] = None,
    weight: Annotated[float | None, typer.Option(help="Of the bilateral kernel [4].")] = None,
    sxy: Annotated[float | None, typer.Option(help="Its standard deviation in pixels [121].")] = None,
    srgb: Annotated[float | None, typer.Option(help="Its standard deviation in gray values [5].")] = None,
    spatial_weight: Annotated[float | None, typer.Option(help="Of the spatial kernel [3].")] = None,
    spatial_sxy: Annotated[float | None, typer.Option(help="Its standard deviation in pixels [3].")] = None,
    iterations: Annotated[int, typer.Option(help="Mean field steps.")] = 10,
    normalization: Annotated[str, typer.Option(help="after, symmetric, before or none.")] = "after",
    confidence: Annotated[
        float | None, typer.Option(help="For an index PNG: how sure its labels are, above 1 / classes and under 1.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="Class list, a name a line; without it VOC's, if there are 21.")
    ] = None,
    threads: Threads = None,
    overlay: Annotated[bool, typer.Option("--overlay/--no-overlay", help="Write photo.overlay.jpg too.")] = True,
    probabilities: Annotated[bool, typer.Option(help="Write photo.probabilities.npy (float16) too.")] = False,
    min_region: MinRegion = None,
    opacity: Opacity = 0.45,
    colors: OverlayColors = None,
    overwrite: Annotated[bool, typer.Option(help="Replace outputs that exist.")] = False,
) -> None:
    """Sharpen any network's output with the fully connected CRF alone."""
    from ..crf import Bilateral, DenseCRF, Kernel, Spatial, most_vertices, resolve
    from ..data import class_names, read_probabilities
    from ..image_io import read_image
    from ..labelmap import read_color_table, voc_palette
    from ..segmenter import Segmentation
    from .jobs import Job, file_keys, photo_unfinished, reduction_line, report_line

    begun = time.perf_counter()
    job = Job(image, Path(image.stem))
    inputs = file_keys(path for path in (image, labels, classes) if path is not None)
    if not photo_unfinished(job, out, inputs, overlay=overlay, probabilities=probabilities, overwrite=overwrite):
        raise InputError(f"{out / job.name}.png: exists; give --overwrite to replace it, or another --out")
    # Options take the place of the preset's values, one by one.
    spatial, bilateral = resolve(preset or "deeplab-largefov")
    assert isinstance(spatial, Spatial)
    assert isinstance(bilateral, Bilateral)
    kernels: list[Kernel] = [
        Spatial(
            weight=spatial.weight if spatial_weight is None else spatial_weight,
            sxy=spatial.sxy if spatial_sxy is None else spatial_sxy,
        ),
        Bilateral(
            weight=bilateral.weight if weight is None else weight,
            sxy=bilateral.sxy if sxy is None else sxy,
            srgb=bilateral.srgb if srgb is None else srgb,
        ),
    ]
    photo = read_image(image)
    given, kept = read_probabilities(labels, photo.shape[:2], confidence)
    crf = DenseCRF(
        photo,
        kernels,
        iterations=iterations,
        normalization=normalization,  # type: ignore[arg-type]  # checked there
        threads=threads,
        max_vertices=most_vertices(photo, kernels),
    )
    count = int(kept.max()) + 1
    names = class_names(classes, count, ids=labels.suffix.lower() not in (".npy", ".npz"))
    palette = tuple((int(r), int(g), int(b)) for r, g, b in voc_palette(len(names)))
    drawn = None if colors is None else read_color_table(colors, names)[0].palette(len(names))
    result = Segmentation(
        photo, crf(given), names, palette, image, kept, reduction=crf.reduction, min_region=min_region
    )
    try:
        result.save(out, overlay=overlay, probabilities=probabilities, opacity=opacity, palette=drawn)
    except OSError as error:
        raise InputError(f"{error.filename or out}: cannot be written ({error.strerror or error})") from None
    say(report_line(image, result.shares(), time.perf_counter() - begun))
    if result.reduction > 1:
        say(reduction_line(image, result.reduction), err=True)

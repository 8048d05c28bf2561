"""The command `atrous export`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError, as_input_error
from .options import check_output, class_warning
from .terminal import print_line, print_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from ..data import Choice, ImageList, ModelMetadata
    from ..network import TorchEngine


class Precision(StrEnum):
    """Precision of the exported file."""

    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a training checkpoint.")],
    out: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The file to write.")],
    precision: Annotated[
        Precision | None, typer.Option(help="Precision of the file. Default: int8 with --calibrate, else float32.")
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="IMAGES|DATA", help="Images or a data set for the calibration of int8."),
    ] = None,
    calibrate_list: Annotated[
        str | None, typer.Option("--list", help="List of the data set for calibration. Default: its training list.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Number of images for calibration, evenly spaced.")] = 48,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGES|DATA",
            help="Images or a data set for the comparison with the checkpoint; a data set adds mean IoU.",
        ),
    ] = None,
    check_list: Annotated[
        str | None, typer.Option(help="List of the data set for the comparison. Default: val.")
    ] = None,
    check_images: Annotated[int, typer.Option(min=1, help="Number of images for the comparison, evenly spaced.")] = 16,
    score_tolerance: Annotated[
        float | None, typer.Option(min=0, help="Tolerated difference of a score, in % of the largest score.")
    ] = None,
    label_tolerance: Annotated[
        float | None, typer.Option(min=0, help="Tolerated share of pixels with another label, in %.")
    ] = None,
    miou_tolerance: Annotated[float | None, typer.Option(min=0, help="Tolerated loss in mean IoU, in points.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Write the file even if it exceeds a tolerance.")] = False,
    report: Annotated[Path | None, typer.Option(metavar="FILE.json", help="File for the comparison.")] = None,
    crf: Annotated[Path | None, typer.Option(help="CRF parameters from atrous tune (.json).")] = None,
    classes: Annotated[Path | None, typer.Option(help="Class list instead of that of the data sets.")] = None,
    notes: Annotated[str, typer.Option(help="Origin of the weights and their license terms.")] = "",
) -> None:
    """Export a checkpoint to one ONNX file that runs without PyTorch, and compare both."""
    kind = (precision or (Precision.int8 if calibrate is not None else Precision.float32)).value
    _check_options(kind, out, report, calibrate, calibrate_list, check, check_list)

    from .._io import replacing
    from ..backends import OnnxEngine
    from ..data import choose_photos
    from ..evaluation import TOLERANCES, Tolerance, compare, parity_json, parity_table, write_text
    from ..network import TorchEngine, largest_activation
    from ..segmenter import Segmenter

    usual = TOLERANCES[kind]
    tolerance = Tolerance(
        usual.scores if score_tolerance is None else score_tolerance / 100,
        usual.labels if label_tolerance is None else label_tolerance / 100,
        usual.miou if miou_tolerance is None else miou_tolerance / 100,
    )
    engine = TorchEngine.read(checkpoint, crf=_crf_parameters(crf))
    metadata = _with_notes(engine.metadata, notes)
    calibration = choose_photos(calibrate, calibrate_list, classes=classes, training=True) if calibrate else None
    checks = choose_photos(check, check_list, classes=classes) if check else None
    chosen = ((calibrate, calibration), (check, checks))
    named = [(path, choice.classes) for path, choice in chosen if path and choice and choice.classes]
    for warning in dict.fromkeys(class_warning(path, names, metadata.classes) for path, names in named):
        if warning is not None:
            print_line(f"warning: {warning}", err=True)
    on, description = _images_to_check(checks, calibration, images, check_images)
    ours = Segmenter(engine)
    with as_input_error(out), replacing(out) as temporary:
        _write_model(kind, engine, metadata, temporary, calibration, images, ours.max_side)
        theirs = Segmenter(OnnxEngine(temporary, device="cpu"))
        result = compare(ours, theirs, on.samples if on else ())
        if kind == "float16":
            result.largest_activation = largest_activation(engine, _activation_images(on, ours.max_side))
        size = temporary.stat().st_size
        faults = result.faults(tolerance)
        if report is not None:
            facts = {"checkpoint": str(checkpoint), "model": str(out), "precision": kind, "bytes": size}
            write_text(report, parity_json(facts, result, tolerance, description))
        if faults and not keep:
            print_text(parity_table(result, tolerance, description))
            raise InputError(f"{out}: not written, as it exceeds a tolerance: {'; '.join(faults)}")
    print_text(parity_table(result, tolerance, description))
    print_line(f"{out}: {size / 1e6:.1f} MB, {kind}")
    if faults:
        raise InputError(f"{out}: written in spite of an exceeded tolerance (--keep): {'; '.join(faults)}")


def _check_options(
    kind: str,
    out: Path,
    report: Path | None,
    calibrate: Path | None,
    calibrate_list: str | None,
    check: Path | None,
    check_list: str | None,
) -> None:
    """Check the options before the work starts."""
    if out.suffix.lower() != ".onnx" or out.is_dir() or not out.parent.is_dir():
        raise InputError(f"{out}: expected the name of an .onnx file in an existing folder")
    check_output("report", report)
    if kind == "int8" and calibrate is None:
        raise InputError("--precision int8: expected images for calibration; pass --calibrate IMAGES or DATA")
    if kind != "int8" and calibrate is not None:
        raise InputError(f"--calibrate: expected --precision int8 with it, got {kind}; remove one of them")
    for name, given, of, there in (
        ("--list", calibrate_list, "--calibrate", calibrate),
        ("--check-list", check_list, "--check", check),
    ):
        if given is not None and there is None:
            raise InputError(f"{name} {given}: is a list of the data set of {of}; pass {of} DATA, too")


def _crf_parameters(path: Path | None) -> Any:
    from ..data import CrfParameters

    if path is None:
        return None
    return CrfParameters.read(path)


def _with_notes(metadata: "ModelMetadata", notes: str) -> "ModelMetadata":
    import dataclasses

    return dataclasses.replace(metadata, notes=notes or metadata.notes)


def _images_to_check(
    checks: "Choice | None", calibration: "Choice | None", images: int, check_images: int
) -> tuple["ImageList | None", str]:
    """Return the images to compare, and their description."""
    from ..data import Choice

    if checks is not None:
        chosen, _ = checks.some(check_images)
        return chosen, f"of {checks.images.name}"
    if calibration is None:
        return None, "a generated image"
    used, rest = calibration.some(images)
    name = calibration.images.name
    if len(rest):
        return Choice(rest).some(check_images)[0], f"of {name}, not used for calibration"
    return Choice(used).some(check_images)[0], f"of {name}, also used for calibration"


def _write_model(
    kind: str,
    engine: "TorchEngine",
    metadata: "ModelMetadata",
    path: Path,
    calibration: "Choice | None",
    images: int,
    max_side: int,
) -> None:
    from ..data import read_at_most
    from ..network import export_float, export_float16, export_int8

    if calibration is None:
        (export_float if kind == "float32" else export_float16)(engine.net, path, metadata)
        return
    used, _ = calibration.some(images)
    # At the size of the network's input in the segmenter.
    calibration_images = [read_at_most(sample.image, max_side) for sample in used.samples]
    export_int8(engine.net, path, metadata, calibration_images)


def _activation_images(on: "ImageList | None", max_side: int) -> "Iterable[NDArray[np.uint8]]":
    from ..data import read_at_most
    from ..evaluation import generated_image

    if on is None:
        return [generated_image()]
    return (read_at_most(sample.image, max_side) for sample in on.samples)

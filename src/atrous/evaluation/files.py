"""Scores as files for programs: everything as JSON, a line an image as CSV."""

import csv
import dataclasses
import io
import json
import math
import os
from typing import Any

from .. import _io as atomic
from ..errors import InputError
from .about import Run
from .metrics import ConfusionMatrix
from .results import Evaluation


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file, whole or not at all; InputError if it cannot be. Names of files in it may be no text."""
    try:
        atomic.write_text(path, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None


def as_json(result: Evaluation, run: Run) -> str:
    """Return all numbers, 0 to 1, as JSON; null where a score has nothing to be of."""
    document = {
        "format": 1,
        "run": dataclasses.asdict(run),
        "images": result.images,
        "images_without_void": result.without_void,
        "classes": list(result.classes),
        "labelings": {name: _labeling(result, name) for name in result.labelings},
        "mean_field_steps": {str(steps): matrix.summary() for steps, matrix in result.by_steps().items()},
        "per_image": [dataclasses.asdict(row) for row in result.rows],
    }
    return json.dumps(finite(document), indent=1, allow_nan=False) + "\n"


def _labeling(result: Evaluation, name: str) -> dict[str, Any]:
    matrix = result.confusion(name)
    return {
        **matrix.summary(),
        "IoU": _by_class(result, matrix.iou()),
        "recall": _by_class(result, matrix.recall()),
        "precision": _by_class(result, matrix.precision()),
        "confusion": matrix.counts.tolist(),
        "trimap": {str(width): _band(matrix) for width, matrix in result.trimap(name).items()},
    }


def _band(matrix: ConfusionMatrix) -> dict[str, float]:
    return {**matrix.summary(), "pixels": int(matrix.counts.sum())}


def _by_class(result: Evaluation, values: Any) -> dict[str, float]:
    return dict(zip(result.classes, map(float, values), strict=True))


def finite(value: Any) -> Any:
    """Put None, JSON's null, for numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(result: Evaluation) -> str:
    """Return a line for each image: its name, scored and void pixels, mean IoU and pixel accuracy, 0 to 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = [f"{name} {measure}" for name in result.labelings for measure in ("mean IoU", "pixel accuracy")]
    writer.writerow(["name", "labeled pixels", "void pixels", *measures])
    for row in result.rows:
        scores = [score for name in result.labelings for score in (row.mean_iou[name], row.pixel_accuracy[name])]
        # Of an image without a labeled pixel there is no score.
        written = [f"{score:.6f}" if math.isfinite(score) else "" for score in scores]
        writer.writerow([row.name, row.labeled, row.void, *written])
    return text.getvalue()

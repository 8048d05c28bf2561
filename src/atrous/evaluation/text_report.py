"""Reports as text tables, JSON and CSV."""

import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import _io
from .._printable import printable
from .._provenance import machine
from ..errors import as_input_error
from ..labelmap import display_name
from .bootstrap import DRAWS, Difference
from .export_check import LARGEST_HALF, Parity, Tolerance
from .metrics import ConfusionMatrix
from .results import Evaluation
from .run_info import RunInfo, scoring_versions


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file atomically; raise InputError on failure. File names in the text need not be valid Unicode."""
    with as_input_error(path):
        _io.write_text(path, text)


def as_json(result: Evaluation, run: RunInfo) -> str:
    """Return all figures, 0 to 1, as JSON; null for undefined scores."""
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
    """Replace numbers that JSON does not support by None."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_csv(result: Evaluation) -> str:
    """Return one line per image: its name, scored and void pixels, mean IoU and pixel accuracy, 0 to 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    measures = [f"{name} {measure}" for name in result.labelings for measure in ("mean IoU", "pixel accuracy")]
    writer.writerow(["name", "labeled pixels", "void pixels", *measures])
    for row in result.rows:
        scores = [score for name in result.labelings for score in (row.mean_iou[name], row.pixel_accuracy[name])]
        # An image without labeled pixels has no score.
        written = [f"{score:.6f}" if math.isfinite(score) else "" for score in scores]
        writer.writerow([row.name, row.labeled, row.void, *written])
    return text.getvalue()


def score_table(result: Evaluation) -> str:
    """Return a table of IoU per class and of the scalar measures, in per cent, with one column per labeling."""
    matrices = [result.confusion(name) for name in result.labelings]
    scores = [matrix.iou() for matrix in matrices]
    rows = [(display_name(name), [iou[c] for iou in scores]) for c, name in enumerate(result.classes)]
    summaries = [matrix.summary() for matrix in matrices]
    rows += [(name, [summary[name] for summary in summaries]) for name in summaries[0]]
    return _table("IoU in %", result.labelings, rows)


def trimap_table(result: Evaluation) -> str:
    """Return a table of mean IoU and pixel accuracy in each band, in per cent, or one line if there is no band."""
    if result.without_void == result.images:
        return "no trimap: no label map has void pixels, which mark the outlines (masks of SBD have none)"
    rows = []
    for name, measure in _MEASURES:
        rows += [(f"{label}, {name}", list(map(measure, result.trimap(label).values()))) for label in result.labelings]
    table = _table("trimap half-width, pixels", list(map(str, result.widths)), rows)
    if not result.without_void:
        return table
    return f"{table}\nimages without void pixels and thus without a band: {result.without_void} of {result.images}"


def steps_table(result: Evaluation) -> str:
    """Return a table of mean IoU and pixel accuracy after each number of mean-field steps, in per cent."""
    matrices = result.by_steps()
    rows = [(name, list(map(measure, matrices.values()))) for name, measure in _MEASURES]
    return _table("mean-field steps", list(map(str, matrices)), rows)


def differences_table(found: Mapping[str, Difference], theirs: str) -> str:
    """Return a table of the gain in mean IoU over other scores, in points, with its 95 % interval."""
    rows = [(name, [each.ours, each.theirs, each.gain, each.low, each.high]) for name, each in found.items()]
    table = _table("mean IoU in %", ("this", "that", "gain", "from", "to"), rows)
    images = next(iter(found.values())).images
    that = printable(theirs)
    return f"{table}\nthat: {that}; from, to: the gain in 95 % of {DRAWS:,} draws of {images:,} of these images"


_MEASURES = (("mean IoU", ConfusionMatrix.mean_iou), ("pixel accuracy", ConfusionMatrix.pixel_accuracy))


def _table(corner: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[float]]]) -> str:
    rows = [(printable(name), values) for name, values in rows]
    columns = list(map(printable, columns))
    first = max(len(corner), *(len(name) for name, _ in rows))
    width = max(8, *map(len, columns)) + 2
    lines = [f"{corner:<{first}}" + "".join(f"{name:>{width}}" for name in columns)]
    for name, values in rows:
        lines.append(f"{name:<{first}}" + "".join(f"{_percent(value):>{width}}" for value in values))
    return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}" if value == value else "-"


_PARITY_COLUMNS = ("score off", "other labels", "with CRF")


def parity_table(parity: Parity, tolerance: Tolerance, description: str) -> str:
    """Return a table of the differences at each size, over all images, the tolerances, and mean IoU.

    Parameters
    ----------
    parity : Parity
    tolerance : Tolerance
    description : str
        Description of the compared images: words that follow "8 images", or those for a generated image.
    """
    images = compared_on(parity, description) if parity.images else None
    largest = max(row.largest for row in (*parity.sizes, *parity.images))
    rows = [(row.name, _number(row.difference), _short_percent(row.others / row.pixels), "") for row in parity.sizes]
    if images is not None:
        off = max(row.difference for row in parity.images)
        rows.append((images, _number(off), _short_percent(parity.others), _short_percent(parity.crf_others)))
    limits = _short_percent(tolerance.labels) if images else ""
    rows.append(("tolerance", _number(tolerance.scores * largest), limits, limits))
    first = max(len(name) for name, *_ in rows)
    lines = [" " * first + "".join(f"{name:>14}" for name in _PARITY_COLUMNS)]
    lines += [f"{name:<{first}}" + "".join(f"{value:>14}" for value in values).rstrip() for name, *values in rows]
    lines.append(f"the largest score is {largest:.4g}; the sizes (rows x columns) are of {_first(parity, description)}")
    for name, (before, after) in parity.mean_iou().items():
        few = before - after > tolerance.miou and parity.lost(name).high >= 0
        lines.append(
            f"mean IoU, {name}: {100 * before:.2f} in PyTorch, {100 * after:.2f} exported ({parity.masks} masks,"
            f" tolerance {100 * tolerance.miou:.3g}{', exceeded but not significant' if few else ''})"
        )
    if parity.largest_activation is not None:
        lines.append(f"activations reach {parity.largest_activation:,.0f}; half precision ends at {LARGEST_HALF:,.0f}")
    return "\n".join(map(printable, lines))


def parity_json(facts: dict[str, Any], parity: Parity, tolerance: Tolerance, description: str) -> str:
    """Return all figures as JSON; shares and mean IoU are 0 to 1.

    Parameters
    ----------
    facts : dict
        Source and target of the export, for the head of the file.
    parity, tolerance, description
        See `parity_table`.
    """
    document = {
        "format": 1,
        **facts,
        "compared_on": compared_on(parity, description),
        "faults": parity.faults(tolerance),
        "tolerance": dataclasses.asdict(tolerance),
        **parity.as_dict(),
        "machine": machine(),
        "versions": scoring_versions(),
    }
    return json.dumps(finite(document), indent=1, allow_nan=False) + "\n"


def compared_on(parity: Parity, description: str) -> str:
    """Return the number of images, or the words for a generated image."""
    count = len(parity.images)
    return f"{count} image{'s' if count > 1 else ''} {description}" if count else description


def _first(parity: Parity, description: str) -> str:
    return parity.images[0].name if parity.images else description


def _number(value: float) -> str:
    return f"{value:.4g}"


def _short_percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.3g} %"

"""Scores as aligned text."""

from collections.abc import Iterable, Mapping, Sequence

from .._printable import printable
from .bootstrap import DRAWS, Difference
from .metrics import ConfusionMatrix
from .results import Evaluation


def score_table(result: Evaluation) -> str:
    """Return IoU per class and the measures that are one number, in per cent, a column a labeling."""
    matrices = [result.confusion(name) for name in result.labelings]
    scores = [matrix.iou() for matrix in matrices]
    rows = [(name, [iou[c] for iou in scores]) for c, name in enumerate(result.classes)]
    summaries = [matrix.summary() for matrix in matrices]
    rows += [(name, [summary[name] for summary in summaries]) for name in summaries[0]]
    return _table("IoU in %", result.labelings, rows)


def trimap_table(result: Evaluation) -> str:
    """Return mean IoU and pixel accuracy in each band, in per cent; one line if there is no band."""
    if result.without_void == result.images:
        return "no trimap: no label map has void pixels, which mark the outlines (masks of SBD have none)"
    rows = []
    for name, measure in _MEASURES:
        rows += [(f"{label}, {name}", list(map(measure, result.trimap(label).values()))) for label in result.labelings]
    table = _table("trimap half-width, pixels", list(map(str, result.widths)), rows)
    if not result.without_void:
        return table
    return f"{table}\nimages without void pixels, and so without a band: {result.without_void} of {result.images}"


def steps_table(result: Evaluation) -> str:
    """Return mean IoU and pixel accuracy after each number of mean-field steps, in per cent."""
    matrices = result.by_steps()
    rows = [(name, list(map(measure, matrices.values()))) for name, measure in _MEASURES]
    return _table("mean-field steps", list(map(str, matrices)), rows)


def differences_table(found: Mapping[str, Difference], theirs: str) -> str:
    """Return how much better the mean IoU is than that of other scores, in points, with its 95 % interval."""
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

"""A picture of a search: mean IoU over the bilateral kernel's two standard deviations."""

import io
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from atrous._io import write_bytes
from atrous._quiet_imports import import_matplotlib
from atrous.crf.tune.trials import Trial
from atrous.errors import MissingExtra, as_input_error


def draw_heat_map(path: str | os.PathLike[str], trials: Sequence[Trial], *, baseline: float, images: int) -> None:
    """Draw the trials as a PNG: a cell for each (sxy, srgb), colored by its best weight's mean IoU.

    A cell reaches half way to its neighbors, so the finer the search was at a place, the smaller the cells.

    Parameters
    ----------
    path : path
    trials : sequence of Trial
        One at least.
    baseline : float
        Mean IoU without the CRF, 0 to 1.
    images : int
        How many were scored.

    Raises
    ------
    MissingExtra
        Without matplotlib.
    InputError
        If the file cannot be written.
    """
    try:
        import_matplotlib()
        from matplotlib.collections import PatchCollection
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError:
        raise MissingExtra.of(f"{Path(path)}: drawing needs matplotlib", "plot") from None

    best = max(trials, key=lambda trial: trial.mean_iou)
    scores: dict[tuple[float, float], float] = {}
    for trial in trials:
        place = trial.sxy, trial.srgb
        scores[place] = max(trial.mean_iou, scores.get(place, 0))
    boxes = cells(list(scores))
    # Larger ones first: the finer cells lie on them.
    order = sorted(boxes, key=lambda place: -_area(boxes[place]))

    figure = Figure(figsize=(7.2, 4.8), dpi=150, layout="constrained")
    axes = figure.subplots()
    patches = [
        Rectangle((left, low), right - left, high - low) for left, right, low, high in (boxes[place] for place in order)
    ]
    painted = PatchCollection(patches, cmap="viridis", edgecolor="white", linewidth=0.4)
    values = [100 * scores[place] for place in order]
    painted.set_array(values)
    # A few cells that are far off would take all the colors.
    lowest = sorted(values)[len(values) // 10]
    painted.set_clim(lowest, max(values))
    axes.add_collection(painted)
    axes.autoscale_view()
    axes.margins(0)
    axes.set_facecolor("0.92")  # not tried
    axes.plot(best.sxy, best.srgb, marker="o", markersize=9, fillstyle="none", color="red", markeredgewidth=1.8)
    axes.set_xlabel("sxy, pixels")
    axes.set_ylabel("srgb, gray values")
    axes.set_title(
        f"best (circle): {100 * best.mean_iou:.2f} % at weight {best.weight:g}, sxy {best.sxy:g}, srgb {best.srgb:g};"
        f" without CRF {100 * baseline:.2f} %",
        fontsize="medium",
    )
    figure.colorbar(
        painted,
        ax=axes,
        label=f"mean IoU over {images} images, %, best weight of each cell",
        extend="min" if min(values) < lowest else "neither",
    )
    content = io.BytesIO()
    figure.savefig(content, format="png")
    with as_input_error(path):
        write_bytes(path, content.getvalue())


Box = tuple[float, float, float, float]  # left, right, low, high


def cells(places: Iterable[tuple[float, float]]) -> dict[tuple[float, float], Box]:
    """Return a box around each place, half way to its neighbors in its own row and column.

    Where the neighbors of one side are nearer the boxes lie on one another, the finer ones on top.
    """
    places = list(places)
    rows: dict[float, list[float]] = {}
    columns: dict[float, list[float]] = {}
    for x, y in places:
        rows.setdefault(y, []).append(x)
        columns.setdefault(x, []).append(y)
    wide = _smallest_gap({x for x, _ in places})
    high = _smallest_gap({y for _, y in places})
    return {(x, y): (*_between(x, rows[y], wide), *_between(y, columns[x], high)) for x, y in places}


def _between(value: float, line: Sequence[float], alone: float) -> tuple[float, float]:
    """Half the longer way to the next values on a line, to both sides, but not past these values."""
    down = min((value - v for v in line if v < value), default=None)
    up = min((v - value for v in line if v > value), default=None)
    half = max(down or 0, up or 0) / 2 or alone / 2
    return value - min(half, down or half), value + min(half, up or half)


def _smallest_gap(values: set[float]) -> float:
    line = sorted(values)
    return min((b - a for a, b in itertools.pairwise(line)), default=0.2 * line[0])


def _area(box: Box) -> float:
    left, right, low, high = box
    return (right - left) * (high - low)

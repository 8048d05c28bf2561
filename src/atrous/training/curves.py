"""A run's curves in one picture: loss, mean IoU, learning rate."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._io import write_bytes
from .._printable import printable
from .._quiet_imports import import_matplotlib
from ..errors import InputError, MissingExtra

LOG = "log.csv"
EVALUATIONS = "evaluations.csv"
CURVES = "curves.png"

Curve = NDArray[np.float64]

_BLUE, _GREEN, _GRAY = "#1f5fa8", "#1c7c54", "#666666"
_MOST_MEDIANS = 400  # more could not be told apart in the picture


def draw_curves(run: str | os.PathLike[str]) -> Path:
    """Draw the loss, mean IoU and learning rate of a run into its `curves.png`.

    The loss of each step is faint, and a running median of it, over a twentieth of the run, is drawn on it.

    Parameters
    ----------
    run : path
        A run's folder with `log.csv` and, after evaluations, `evaluations.csv`.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    MissingExtra
        Without matplotlib.
    InputError
        If there is no table to draw, or the picture cannot be written.
    """
    run = Path(run)
    path = run / CURVES
    log = read_columns(run / LOG, ("step", "loss", "rate"))
    evaluated = (run / EVALUATIONS).exists()
    scores = read_columns(run / EVALUATIONS, ("step", "mean_iou")) if evaluated else np.empty((2, 0))
    try:
        import_matplotlib()
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra(f"{path}: drawing needs matplotlib; pip install 'atrous[plot]'") from None

    heights = [5, 3, 2] if scores.size else [5, 2]
    figure = Figure(figsize=(7.2, 0.72 * sum(heights)), dpi=150, layout="constrained")
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    figure.suptitle(_title(run, log, scores), fontsize="large")
    _draw_loss(panels[0], log[0], log[1])
    if scores.size:
        _draw_scores(panels[1], scores[0], scores[1])
    panels[-1].plot(log[0], log[2], color=_GRAY)
    panels[-1].set_ylabel("learning rate")
    panels[-1].set_ylim(bottom=0)
    panels[-1].ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    panels[-1].set_xlabel("step")
    for panel in panels:
        panel.grid(color="0.9", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.015)
    figure.align_ylabels(panels)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    try:
        write_bytes(path, content.getvalue())
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be written ({reason}); make room, or see to its folder") from None
    return path


def _draw_loss(panel: Any, steps: Curve, losses: Curve) -> None:
    # Circles where a line would not be seen.
    marker = "o" if len(steps) < 3 else None
    panel.plot(steps, losses, color=_BLUE, alpha=0.25, linewidth=0.8, marker=marker, label="each step")
    window = max(len(losses) // 20, min(len(losses), 5)) | 1
    places, medians = running_median(losses, window)
    panel.plot(steps[places], medians, color=_BLUE, linewidth=2, label=f"median of {window} steps")
    panel.set_ylabel("loss (cross-entropy)")
    if np.isfinite(losses).any():
        # The first few losses of a fresh network would take all the height.
        panel.set_ylim(0, 1.05 * max(np.nanpercentile(losses, 98), np.nanmax(medians)))
    panel.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=2, fontsize="small")


def _draw_scores(panel: Any, steps: Curve, scores: Curve) -> None:
    percent = 100 * scores
    panel.plot(steps, percent, color=_GREEN, linewidth=1.5, marker="o", markersize=4)
    best = int(np.argmax(percent))
    panel.plot(steps[best], percent[best], marker="o", markersize=9, fillstyle="none", color=_GREEN)
    panel.set_ylabel("mean IoU, %")
    panel.margins(y=0.2)


def _title(run: Path, log: Curve, scores: Curve) -> str:
    steps = int(log[0, -1]) if log.size else 0
    # Between dollar signs matplotlib would read a formula.
    name = printable(run.resolve().name).replace("$", r"\$")
    title = f"{name}: {steps} steps"
    if scores.size:
        best = int(np.argmax(scores[1]))
        title += f", best mean IoU (circle) {100 * scores[1, best]:.2f} % after {int(scores[0, best])}"
    return title


def running_median(values: Curve, window: int) -> tuple[NDArray[np.int64], Curve]:
    """Median of the `window` values around each of at most 400 places, of fewer at the ends.

    Parameters
    ----------
    values : (N,) float64
        NaNs are left out.
    window : int
        Odd.

    Returns
    -------
    places : (M,) int64
        Evenly spaced indices of `values`, both ends included.
    medians : (M,) float64
    """
    count = len(values)
    places = np.unique(np.linspace(0, count - 1, min(count, _MOST_MEDIANS)).round().astype(np.int64))
    half = window // 2
    medians = [np.nanmedian(values[max(place - half, 0) : place + half + 1]) for place in places]
    return places, np.asarray(medians, np.float64)


def read_columns(path: Path, names: tuple[str, ...]) -> Curve:
    """Read columns of a table, (len(names), N) float64, ordered by the first one; unfinished lines are left out."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            table = csv.DictReader(file)
            if missing := [name for name in names if name not in (table.fieldnames or ())]:
                raise InputError(f"{path}: expected a run's table, found no column {missing[0]!r}; name a run's folder")
            lines = [_numbers([line[name] for name in names]) for line in table]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); name a run's folder") from None
    except csv.Error as error:
        raise InputError(f"{path}: expected a run's table, got another file ({error}); name a run's folder") from None
    rows = sorted(line for line in lines if line is not None)
    return np.asarray(rows, np.float64).reshape(-1, len(names)).T


def _numbers(fields: list[str | None]) -> list[float] | None:
    try:
        return [float(field or "") for field in fields]
    except ValueError:
        return None

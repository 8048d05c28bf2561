"""Training curves: loss, mean IoU and learning rate in one picture."""

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._io import write_bytes
from .._printable import printable
from .._quiet_imports import import_matplotlib
from ..errors import InputError

LOG, EVALUATIONS, CURVES = "log.csv", "evaluations.csv", "curves.png"


def draw_curves(folder: Path) -> Path:
    """Draw loss, mean IoU and learning rate of a run into its `curves.png`; needs matplotlib."""
    import_matplotlib()
    from matplotlib.figure import Figure

    steps, losses, rates = _columns(folder / LOG, "step", "loss", "lr")
    scored, scores = _columns(folder / EVALUATIONS, "step", "mean_iou")
    figure = Figure(figsize=(7.2, 6), dpi=150, layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[5, 3, 2])
    top.plot(steps, losses, color="#1f5fa8", alpha=0.25, linewidth=0.8)
    window = max(len(losses) // 20, 1)
    if len(losses) >= window:  # a running mean over a twentieth of the run
        mean = np.convolve(losses, np.full(window, 1 / window), mode="valid")
        top.plot(steps[window // 2 :][: len(mean)], mean, color="#1f5fa8", linewidth=2)
    top.set_ylim(bottom=0)
    top.set_ylabel("loss")
    middle.plot(scored, 100 * scores, color="#1c7c54", marker="o", markersize=4)
    middle.set_ylabel("mean IoU, %")
    bottom.plot(steps, rates, color="#666666")
    bottom.set_ylabel("learning rate")
    bottom.set_xlabel("step")
    for axes in (top, middle, bottom):
        axes.grid(color="0.9", linewidth=0.8)
    best = f", best mean IoU {100 * scores.max():.2f} %" if len(scores) else ""
    # Between dollar signs matplotlib would read a formula.
    name = printable(folder.resolve().name).replace("$", r"\$")
    figure.suptitle(f"{name}: {int(steps[-1]) if len(steps) else 0} steps{best}")
    path = folder / CURVES
    content = io.BytesIO()
    figure.savefig(content, format="png")
    try:
        write_bytes(path, content.getvalue())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); make room") from None
    return path


def _columns(path: Path, *names: str) -> NDArray[np.float64]:
    with path.open(newline="", encoding="utf-8") as file:
        return np.array([[float(r[n]) for n in names] for r in csv.DictReader(file)]).reshape(-1, len(names)).T

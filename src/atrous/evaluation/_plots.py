"""Plots of the report, as SVG."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._printable import printable
from ..data.metadata import VOC_CLASSES
from .metrics import ConfusionMatrix
from .results import Evaluation
from .trimap import WIDTHS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Results of Chen et al. 2015 on the 1,449 images of VOC 2012 val, for the basic model "DeepLab" at the half-widths of
# `trimap.WIDTHS`, from the authors' released evaluation. In per cent: mean IoU, pixel accuracy.
DEEPLAB_TRIMAP: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "DeepLab": ((39.14, 40.92, 45.51, 50.83, 56.42, 60.43), (59.76, 62.10, 67.88, 74.05, 80.09, 84.98)),
    "DeepLab-CRF": ((45.86, 47.79, 51.66, 55.68, 60.15, 63.67), (67.81, 69.84, 73.96, 78.20, 82.77, 86.86)),
}

# Colors of the labelings in curves and bars.
_COLORS = ("#7d8fa3", "#c8452f", "#2a7f62", "#6c4f9e")
_GRAY = "#667"


def trimap_curves(result: Evaluation, *, accuracy: bool) -> str:
    """Plot mean IoU or pixel accuracy over the band's half-width, with the authors' curves for VOC's classes.

    Returns
    -------
    str
        SVG.
    """
    figure, axes = _figure(5.2, 3.6)
    for name, color in colors(result).items():
        matrices = result.trimap(name)
        values = [_percent(matrix, accuracy) for matrix in matrices.values()]
        axes.plot(list(matrices), values, color=color, marker="o", markersize=4, linewidth=2, label=_literal(name))
    if comparable(result):
        dashed = {"linestyle": (0, (4, 2)), "linewidth": 1.2, "marker": "."}
        for (name, scores), color in zip(DEEPLAB_TRIMAP.items(), _COLORS, strict=False):
            axes.plot(WIDTHS, scores[accuracy], color=color, label=f"Chen et al., {name}", **dashed)
    axes.set_xlabel("half-width of the band, pixels")
    axes.set_ylabel("pixel accuracy, %" if accuracy else "mean IoU, %")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return _svg(figure)


def step_curve(result: Evaluation, *, accuracy: bool) -> str:
    """Plot mean IoU or pixel accuracy over the number of mean-field steps."""
    figure, axes = _figure(5.2, 3.2)
    matrices = result.by_steps()
    values = [_percent(matrix, accuracy) for matrix in matrices.values()]
    axes.plot(list(matrices), values, color=_COLORS[1], marker="o", markersize=4, linewidth=2)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("mean-field steps")
    axes.set_ylabel("pixel accuracy, %" if accuracy else "mean IoU, %")
    return _svg(figure)


def confusion_plot(matrix: ConfusionMatrix, classes: Sequence[str]) -> str:
    """Plot the confusion matrix, each row divided by the number of true pixels."""
    from matplotlib.colors import PowerNorm

    true = matrix.counts.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(matrix.counts, true, out=np.full(matrix.counts.shape, np.nan), where=true > 0)
    side = 2.2 + 0.26 * len(classes)
    figure, axes = _figure(side + 0.8, side)
    # The square root makes rare confusions visible.
    painted = axes.pcolormesh(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100), edgecolors="white", linewidth=0.5)
    axes.set_facecolor("#eee")  # classes that do not occur in the truth
    places = np.arange(len(classes)) + 0.5
    names = list(map(_literal, classes))
    axes.set_xticks(places, names, rotation=90, fontsize=8)
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    for c in range(len(classes)):
        if np.isfinite(shares[c, c]):
            color = "white" if shares[c, c] > 40 else "#123"
            axes.text(c + 0.5, c + 0.5, f"{shares[c, c]:.0f}", ha="center", va="center", fontsize=6.5, color=color)
    bar = figure.colorbar(painted, ax=axes, fraction=0.035, pad=0.02, ticks=[0, 5, 20, 50, 100])
    bar.set_label("% of the true class' pixels")
    bar.outline.set_visible(False)
    return _svg(figure)


def colors(result: Evaluation) -> dict[str, str]:
    """Return the color of each labeling."""
    begin = 0 if len(result.labelings) > 1 else 1
    return {name: _COLORS[(begin + n) % len(_COLORS)] for n, name in enumerate(result.labelings)}


def comparable(result: Evaluation) -> bool:
    """Return whether the authors' curves have the same classes."""
    return result.classes == VOC_CLASSES


def _literal(name: str) -> str:
    """Return a name escaped for matplotlib, which parses text between dollar signs as a formula."""
    return printable(name).replace("$", r"\$")


def _percent(matrix: ConfusionMatrix, accuracy: bool) -> float:
    return 100 * (matrix.pixel_accuracy() if accuracy else matrix.mean_iou())


def _figure(width: float, height: float) -> "tuple[Figure, Any]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#bbb")
    axes.tick_params(color="#bbb", labelcolor=_GRAY)
    axes.grid(color="#e6e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: "Figure") -> str:
    import matplotlib

    text = io.StringIO()
    # Text is drawn as paths, so that no font is needed. The same scores give the same file.
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "atrous"}):
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    return text.getvalue()

"""Report of an evaluation as one self-contained HTML file."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._printable import printable
from .._quiet_imports import import_matplotlib
from ..data.samples import Sample, read_pair
from ..errors import MissingExtra
from ..labelmap import display_name, overlay
from ..labelmap.voc_colormap import full_palette
from ._plots import colors, comparable, confusion_plot, step_curve, trimap_curves
from .predictors import Labeler
from .results import Evaluation, ImageScores
from .run_info import RunInfo

# Longer side of an example's images, in pixels.
_SIDE = 480


@dataclass(frozen=True)
class EmbeddedImage:
    """An image in the page."""

    caption: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Example:
    """An image with its truth and its label maps."""

    title: str
    name: str
    scores: str
    images: tuple[EmbeddedImage, ...]


def check_report() -> None:
    """Raise MissingExtra if a report cannot be created."""
    if missing := [package for package in ("jinja2", "matplotlib") if find_spec(package) is None]:
        raise MissingExtra.of(f"a report needs {' and '.join(missing)}", "plot")


def report_html(
    result: Evaluation, run: RunInfo, labeler: Labeler, samples: Sequence[Sample], palette: NDArray[np.uint8]
) -> str:
    """Return the HTML page.

    Parameters
    ----------
    result : Evaluation
    run : RunInfo
    labeler : Labeler
        Computes the label maps of the examples.
    samples : sequence of Sample
        The scored samples.
    palette : (C, 3) uint8

    Raises
    ------
    MissingExtra
        If jinja2 or matplotlib is not installed.
    """
    check_report()
    import_matplotlib()
    from jinja2 import Environment, StrictUndefined

    matrices = {name: result.confusion(name) for name in result.labelings}
    last = result.labelings[-1]
    bands = bool(result.trimap(last))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=printable
    )
    environment.filters.update(percent=_percent, svg=_svg_uri, color=_hex)
    template = environment.from_string((resources.files(__package__) / "report.html.jinja").read_text("utf-8"))
    names = [display_name(name) for name in result.classes]
    return template.render(
        run=run,
        result=result,
        names=names,
        scope=run.scope(result.images),
        colors=colors(result),
        authors=comparable(result),
        last=last,
        summaries={name: matrix.summary() for name, matrix in matrices.items()},
        ious={name: matrix.iou().tolist() for name, matrix in matrices.items()},
        recall=matrices[last].recall().tolist(),
        precision=matrices[last].precision().tolist(),
        palette=full_palette(palette).tolist(),
        confusion=confusion_plot(matrices[last], names),
        trimaps=[trimap_curves(result, accuracy=accuracy) for accuracy in (False, True)] if bands else [],
        steps=[step_curve(result, accuracy=accuracy) for accuracy in (False, True)] if result.steps else [],
        examples=[
            _example(title, row, samples[row.place], labeler, result, palette)
            for title, row in chosen(result.rows, last).items()
        ],
    )


def chosen(rows: Sequence[ImageScores], labeling: str) -> dict[str, ImageScores]:
    """Return the best, the median and the worst image by mean IoU; fewer if there are fewer images."""
    ranked = [row for row in rows if math.isfinite(row.mean_iou[labeling])]
    ranked.sort(key=lambda row: -row.mean_iou[labeling])
    if not ranked:
        return {}
    picked: dict[str, ImageScores] = {"best": ranked[0]}
    if len(ranked) > 2:
        picked["median"] = ranked[len(ranked) // 2]
    if len(ranked) > 1:
        picked["worst"] = ranked[-1]
    return picked


def _example(
    title: str, row: ImageScores, sample: Sample, labeler: Labeler, result: Evaluation, palette: NDArray[np.uint8]
) -> Example:
    image, truth = read_pair(sample)
    maps = {"image": None, "truth": truth, **labeler(sample, image).maps}
    images = []
    for caption, labels in maps.items():
        drawn = Image.fromarray(image) if labels is None else overlay(image, labels, result.classes, palette)
        images.append(_embedded(caption, drawn))
    scores = ", ".join(f"{_percent(row.mean_iou[name])} % {name}" for name in result.labelings)
    return Example(title, row.name, scores, tuple(images))


def _embedded(caption: str, image: Image.Image) -> EmbeddedImage:
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=85)
    uri = "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
    return EmbeddedImage(caption, uri, *image.size)


def _svg_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f}" if math.isfinite(value) else "–"  # noqa: RUF001


def _hex(color: Sequence[Any]) -> str:
    red, green, blue = color
    return f"#{red:02x}{green:02x}{blue:02x}"

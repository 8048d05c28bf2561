"""A segmentation as the files and the HTML that the page shows."""

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._io import write_bytes
from ..labelmap import overlay, write_labels
from ..labelmap.overlay import overlay_jpeg
from ..segmenter import Segmentation
from .legend import legend

SHOWN_SIDE = 1400  # pixels: sharp on a phone and on a desktop, quick to send


@dataclass(frozen=True)
class Shown:
    """Files of one result.

    Attributes
    ----------
    before, after : Path
        Overlays to look at, at most `SHOWN_SIDE` a side.
    mask, overlay : Path
        To be downloaded, at the photo's size.
    legend : str
        HTML.
    """

    before: Path
    after: Path
    mask: Path
    overlay: Path
    legend: str


def show(result: Segmentation, before: NDArray[np.uint8], name: str, folder: Path, note: str) -> Shown:
    """Write what the page shows of a result.

    Parameters
    ----------
    result : Segmentation
    before : (H, W) uint8
        Labels without the CRF.
    name : str
        The photo's, as its owner calls it.
    folder : Path
        A folder is made in it.
    note : str
        A line under the legend.
    """
    place = folder / secrets.token_hex(16)
    place.mkdir(parents=True)
    stem = safe_stem(name)
    shown = Shown(
        before=place / "network.jpg",
        after=place / "crf.jpg",
        mask=place / f"{stem}.png",
        overlay=place / f"{stem}.overlay.jpg",
        legend=legend(before, result.labels, result.classes, result.palette, note),
    )
    drawn = result.overlay()
    _save(drawn, shown.overlay)
    _save(_reduced(drawn), shown.after)
    _save(_reduced(overlay(result.image, before, result.classes, result.palette)), shown.before)
    write_labels(shown.mask, result.labels, result.palette)
    return shown


def safe_stem(name: str) -> str:
    """Return a file's name without suffix and without what a file system or a header would mind."""
    return re.sub(r"[^\w-]+", "_", Path(name).stem).strip("_")[:60] or "photo"


def _reduced(picture: Image.Image) -> Image.Image:
    if max(picture.size) <= SHOWN_SIDE:
        return picture
    small = picture.copy()
    small.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return small


def _save(picture: Image.Image, path: Path) -> None:
    write_bytes(path, overlay_jpeg(picture))

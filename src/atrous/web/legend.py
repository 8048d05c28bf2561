"""The classes of a picture with their colors and shares, as HTML."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from ..labelmap.overlay import overlay_palette


def legend(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    note: str,
) -> str:
    """Return a table of the classes that occur, largest first, with their shares before and after the CRF.

    Parameters
    ----------
    before, after : (H, W) uint8
    classes, palette
        By id.
    note : str
        A line below.
    """
    count = max(len(classes), 256)
    shares = [np.bincount(labels.ravel(), minlength=count) / labels.size for labels in (before, after)]
    # Specks that the CRF took away are not worth a line.
    order = sorted(
        np.flatnonzero((shares[0] >= 0.001) | (shares[1] > 0)).tolist(), key=lambda c: (-shares[1][c], -shares[0][c])
    )
    colors = overlay_palette(palette)
    rows = []
    for label in order:
        name = classes[label] if label < len(classes) else f"class {label}"
        red, green, blue = (int(channel) for channel in colors[label])
        paint = "" if label == 0 else f"background:rgb({red},{green},{blue})"  # an overlay leaves background as it is
        rows.append(
            f"<tr><th scope=row><span class='chip{' none' if label == 0 else ''}' style='{paint}'></span>{escape(name)}"
            f"</th><td class=bar><span style='width:{100 * shares[1][label]:.2f}%;{paint}'></span></td>"
            f"<td>{_percent(shares[0][label])}</td><td><b>{_percent(shares[1][label])}</b></td></tr>"
        )
    head = "<tr><th scope=col>Class</th><td></td><th scope=col>without</th><th scope=col>with CRF</th></tr>"
    return (
        f"<table class=legend><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
        f"<p class=note>{escape(note)}</p>"
    )


def _percent(share: float) -> str:
    return "none" if share == 0 else "&lt; 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"

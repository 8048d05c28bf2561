"""The comparison of an exported network with its checkpoint, for people and for programs."""

import dataclasses
import json
from typing import Any

from .._printable import printable
from .._provenance import machine
from .about import scoring_versions
from .export_check import LARGEST_HALF, Parity, Tolerance
from .files import finite

_COLUMNS = ("score off by", "other labels", "with CRF")


def parity_table(parity: Parity, tolerance: Tolerance, seen: str) -> str:
    """Return aligned text: a line a size, one for all photos, one for what is tolerated, and mean IoU.

    Parameters
    ----------
    parity : Parity
    tolerance : Tolerance
    seen : str
        Which pictures were compared on, in words that follow "8 photos", or those of a generated one.
    """
    photos = compared_on(parity, seen) if parity.photos else None
    largest = max(row.largest for row in (*parity.sizes, *parity.photos))
    rows = [(row.name, _number(row.difference), _percent(row.others / row.pixels), "") for row in parity.sizes]
    if photos is not None:
        off = max(row.difference for row in parity.photos)
        rows.append((photos, _number(off), _percent(parity.others), _percent(parity.crf_others)))
    limits = _percent(tolerance.labels) if photos else ""
    rows.append(("tolerated", _number(tolerance.scores * largest), limits, limits))
    first = max(len(name) for name, *_ in rows)
    lines = [" " * first + "".join(f"{name:>14}" for name in _COLUMNS)]
    lines += [f"{name:<{first}}" + "".join(f"{value:>14}" for value in values).rstrip() for name, *values in rows]
    lines.append(f"the largest score is {largest:.4g}; the sizes (rows x columns) are of {_first(parity, seen)}")
    for name, (before, after) in parity.mean_iou().items():
        few = before - after > tolerance.miou and parity.lost(name).high >= 0
        lines.append(
            f"mean IoU, {name}: {100 * before:.2f} in PyTorch, {100 * after:.2f} exported ({parity.masks} masks,"
            f" {100 * tolerance.miou:.3g} less tolerated{', more as a few of them decide' if few else ''})"
        )
    if parity.largest_activation is not None:
        lines.append(f"activations reach {parity.largest_activation:,.0f}; half precision ends at {LARGEST_HALF:,.0f}")
    return "\n".join(map(printable, lines))


def parity_json(facts: dict[str, Any], parity: Parity, tolerance: Tolerance, seen: str) -> str:
    """Return all figures as JSON, shares and mean IoU 0 to 1.

    Parameters
    ----------
    facts : dict
        What was exported to where; put first.
    parity, tolerance, seen
        As in `parity_table`.
    """
    document = {
        "format": 1,
        **facts,
        "compared_on": compared_on(parity, seen),
        "faults": parity.faults(tolerance),
        "tolerance": dataclasses.asdict(tolerance),
        **parity.as_dict(),
        "machine": machine(),
        "versions": scoring_versions(),
    }
    return json.dumps(finite(document), indent=1, allow_nan=False) + "\n"


def compared_on(parity: Parity, seen: str) -> str:
    """Return how many photos, or the words for a generated picture."""
    count = len(parity.photos)
    return f"{count} photo{'s' if count > 1 else ''} {seen}" if count else seen


def _first(parity: Parity, seen: str) -> str:
    return parity.photos[0].name if parity.photos else seen


def _number(value: float) -> str:
    return f"{value:.4g}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.3g} %"

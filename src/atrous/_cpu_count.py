"""How many processors there are to compute with."""

import math
import os
from pathlib import Path

from ._control_groups import GROUPS, OWN, least_bound


def processors() -> int:
    """Return how many processors this process may use: those it is bound to, or a container's share of them.

    A container that may use two of a machine's 64 processors sees all 64, and as many threads as that would be stopped
    for most of each tenth of a second.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(count, container_share())))


def container_share(groups: Path = GROUPS, own: Path = OWN) -> float:
    """Return the processors' time that Linux' control groups allow, in processors; infinity if all.

    Parameters
    ----------
    groups, own : Path
        See `least_bound`.
    """
    return least_bound("cpu", _share, groups, own)


def _share(group: Path) -> float:
    version_2 = group / "cpu.max"
    if version_2.exists():
        quota, period = version_2.read_text().split()
    else:
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    # "max" and -1: no bound.
    return int(quota) / int(period) if int(quota) > 0 else math.inf

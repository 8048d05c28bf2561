"""How many processors there are to compute with."""

import math
import os
from pathlib import Path

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def processors() -> int:
    """Return how many processors this process may use: those it is bound to, or a container's share of them.

    A container that may use two of a machine's 64 processors sees all 64, and as many threads as that would be stopped
    for most of each tenth of a second.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(count, container_share())))


def container_share(groups: Path = _GROUPS, own: Path = _OWN) -> float:
    """Return the processors' time that Linux' control groups (version 2) allow, in processors; infinity if all.

    Parameters
    ----------
    groups : Path
        Where the groups are mounted.
    own : Path
        The file that names this process' group, in a line `0::/path`.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return math.inf
    inside = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    # The groups around it bind it too. In a container the mounted root may be its own group, by another path.
    places = [groups, *(groups.joinpath(*inside.split("/")[:n]) for n in range(1, inside.count("/") + 2) if inside)]
    return min(map(_share, places))


def _share(group: Path) -> float:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max": no bound
        return math.inf

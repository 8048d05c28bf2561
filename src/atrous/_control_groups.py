"""The control groups of Linux that bound this process, as containers use them: versions 1 and 2."""

import math
from collections.abc import Callable
from pathlib import Path

GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def least_bound(controller: str, bounds: Callable[[Path], float], groups: Path = GROUPS, own: Path = OWN) -> float:
    """Return the smallest bound on this process, infinity if there is none.

    Parameters
    ----------
    controller : str
        Of version 1, which mounts each of them apart: "cpu", "memory".
    bounds : callable
        From a group's folder to the bound that it sets; what it raises for a file that is missing or of another form
        (OSError, ValueError, ZeroDivisionError) is no bound.
    groups : Path
        Where the groups are mounted.
    own : Path
        The file that names this process' groups, one a line: `0::/path` in version 2, `4:cpu,cpuacct:/path` in 1.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return math.inf
    places: list[Path] = []
    for _, controllers, inside in (line for line in lines if len(line) == 3):
        if controllers == "":
            mounts = [groups]
        elif controller in controllers.split(","):
            mounts = [groups / controllers, groups / controller]
        else:
            continue
        # The groups around it bind it too. In a container the mounted root may be its own group, by another path.
        parts = inside.strip("/").split("/") if inside.strip("/") else []
        places += [mount.joinpath(*parts[:n]) for mount in mounts for n in range(len(parts) + 1)]
    return min((_bound(bounds, place) for place in places), default=math.inf)


def _bound(bounds: Callable[[Path], float], place: Path) -> float:
    try:
        return bounds(place)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf

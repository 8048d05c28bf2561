"""Processors, memory and devices that this process may use."""

import math
import os
import re
from collections.abc import Callable
from numbers import Integral
from pathlib import Path

from .errors import InputError

# The control groups of Linux, versions 1 and 2, and the file that names those of this process.
GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

# Of the memory that this process may have, what one cache may take.
_SHARE = 0.25

_MOST_THREADS = 1024


def processors() -> int:
    """Return how many processors this process may use: those it is bound to, or a container's share of them.

    A container that may use two of a machine's 64 processors sees all 64, and as many threads as that would be stopped
    for most of each tenth of a second.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(count, container_share())))


def check_threads(threads: int | None) -> int:
    """Return the number of threads, that of the processors for None, or raise InputError."""
    if threads is None:
        return min(processors(), _MOST_THREADS)
    if not is_integer(threads) or not 1 <= threads <= _MOST_THREADS:
        raise InputError(f"threads: expected an integer from 1 to {_MOST_THREADS}, or None, got {threads!r}")
    return int(threads)


def is_integer(value: object) -> bool:
    """Whether a value is an integer of Python or NumPy."""
    return isinstance(value, Integral) and not isinstance(value, bool)


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


def cache_bytes(most: int) -> int:
    """Return how many bytes a cache may take: `most`, or a quarter of the memory that this process may have."""
    bound = _SHARE * memory_limit()
    return most if bound >= most else int(bound)


def memory_limit(groups: Path = GROUPS, own: Path = OWN) -> float:
    """Return the bytes that this process may have: the machine's, or a container's part of them; infinity if unknown.

    Parameters
    ----------
    groups, own : Path
        See `least_bound`.
    """
    return min(_machine(), least_bound("memory", _of_group, groups, own))


def _machine() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # Windows has none of it
        return math.inf


def _of_group(group: Path) -> float:
    version_2 = group / "memory.max"
    # "max" is no number: no bound. In version 1 that is a number which no machine has.
    return float(int((version_2 if version_2.exists() else group / "memory.limit_in_bytes").read_text()))


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


def cuda_index(device: str | None) -> int | None:
    """Return the number of a GPU from a device's name: "cpu" (None), "cuda" (0) or "cuda:N"; 0 for None.

    Raises
    ------
    InputError
        If it is no such name.
    """
    if device == "cpu":
        return None
    found = re.fullmatch(r"cuda(?::(\d{1,3}))?", device) if isinstance(device, str) else None
    if device is not None and found is None:
        raise InputError(f"device={device!r}: expected 'cpu', 'cuda' or 'cuda:N', or None for the best there is")
    return int(found[1] or 0) if found else 0

"""Processors, memory and devices available to this process."""

import math
import os
import re
from collections.abc import Callable
from numbers import Integral
from pathlib import Path

from .errors import InputError, InputTypeError

# Mount point of Linux control groups (versions 1 and 2), and the file with the groups of this process.
GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

# Share of the memory limit for one cache.
_SHARE = 0.25

_MOST_THREADS = 1024


def processors() -> int:
    """Return the number of processors available to this process, from its CPU affinity and its container's quota.

    A container with a quota of two processors on a machine with 64 sees all 64. With 64 threads, the kernel would
    suspend the process for most of each 100 ms period.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(count, container_share())))


def check_threads(threads: int | None) -> int:
    """Return a valid number of threads: by default, the number of processors. Raise InputError otherwise."""
    if threads is None:
        return min(processors(), _MOST_THREADS)
    if not is_integer(threads) or not 1 <= threads <= _MOST_THREADS:
        error = InputTypeError.unless(is_integer(threads))
        raise error(f"threads: expected an integer from 1 to {_MOST_THREADS}, or None, got {threads!r}")
    return int(threads)


def is_integer(value: object) -> bool:
    """Return whether a value is an integer of Python or NumPy."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def container_share(groups: Path = GROUPS, own: Path = OWN) -> float:
    """Return the processor time allowed by Linux control groups, in processors; infinity if unlimited.

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
    # "max" and -1 mean no limit.
    return int(quota) / int(period) if int(quota) > 0 else math.inf


def cache_bytes(most: int) -> int:
    """Return the size of a cache in bytes: `most`, or a quarter of the memory limit if that is less."""
    bound = _SHARE * memory_limit()
    return most if bound >= most else int(bound)


def memory_limit(groups: Path = GROUPS, own: Path = OWN) -> float:
    """Return the memory limit of this process in bytes: the machine's memory or its container's limit.

    Infinity if unknown.

    Parameters
    ----------
    groups, own : Path
        See `least_bound`.
    """
    return min(_machine(), least_bound("memory", _of_group, groups, own))


def _machine() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # not available on Windows
        return math.inf


def _of_group(group: Path) -> float:
    version_2 = group / "memory.max"
    # "max" means no limit. Version 1 has a very large number instead.
    return float(int((version_2 if version_2.exists() else group / "memory.limit_in_bytes").read_text()))


def least_bound(controller: str, bounds: Callable[[Path], float], groups: Path = GROUPS, own: Path = OWN) -> float:
    """Return the smallest limit on this process; infinity if there is none.

    Parameters
    ----------
    controller : str
        Name in version 1, which mounts each controller separately: "cpu" or "memory".
    bounds : callable
        Function from a group's folder to its limit. OSError, ValueError and ZeroDivisionError, from a missing file or
        an unexpected format, mean no limit.
    groups : Path
        Mount point of the groups.
    own : Path
        File with this process' groups, one per line: `0::/path` in version 2, `4:cpu,cpuacct:/path` in version 1.
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
        # Parent groups limit it, too. In a container, the mounted root may be the process' own group under another
        # path.
        parts = inside.strip("/").split("/") if inside.strip("/") else []
        places += [mount.joinpath(*parts[:n]) for mount in mounts for n in range(len(parts) + 1)]
    return min((_bound(bounds, place) for place in places), default=math.inf)


def _bound(bounds: Callable[[Path], float], place: Path) -> float:
    try:
        return bounds(place)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def cuda_index(device: str | None) -> int | None:
    """Return the GPU index of a device: None for "cpu", 0 for "cuda" and None, N for "cuda:N".

    Raises
    ------
    InputError
        If the device has another name.
    """
    if device == "cpu":
        return None
    found = re.fullmatch(r"cuda(?::(\d{1,3}))?", device) if isinstance(device, str) else None
    if device is not None and found is None:
        raise InputError(f"device={device!r}: expected 'cpu', 'cuda' or 'cuda:N', or None for the default")
    return int(found[1] or 0) if found else 0

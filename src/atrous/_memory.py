"""How much memory there is to compute with."""

import math
import os
from pathlib import Path

from ._control_groups import GROUPS, OWN, least_bound

# Of the memory that this process may have, what one cache may take.
_SHARE = 0.25


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

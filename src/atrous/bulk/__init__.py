"""Photos by the million: `atrous bulk` on Ray Data, one engine for each actor."""

from .config import Settings
from .driver import Summary, run

__all__ = ["Settings", "Summary", "run"]

"""Photos by the million: `atrous bulk` on Ray Data, one engine for each actor."""

from .job import Settings
from .run import Summary, run

__all__ = ["Settings", "Summary", "run"]

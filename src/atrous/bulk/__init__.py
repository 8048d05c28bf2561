"""Segmentation of very many images with Ray Data, one engine per actor."""

from .config import Settings
from .driver import Progress, Summary, run
from .ray_cluster import Actors

__all__ = ["Actors", "Progress", "Settings", "Summary", "run"]

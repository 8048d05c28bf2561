"""Photos to masks: network, zoom, CRF."""

from .result import Segmentation
from .segmenter import Segmenter

__all__ = ["Segmentation", "Segmenter"]

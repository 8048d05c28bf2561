"""Photos to masks: network, zoom, CRF."""

from .segmentation import Segmentation
from .segmenter import Segmenter

__all__ = ["Segmentation", "Segmenter"]

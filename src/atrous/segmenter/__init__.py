"""Images to label maps: network, upsampling, CRF."""

from .batch import Done, segmented, worker_count
from .result import NetworkScores, Segmentation, output_files, outputs_missing
from .segmenter import Segmenter
from .upsample import zoomed_probabilities

__all__ = [
    "Done",
    "NetworkScores",
    "Segmentation",
    "Segmenter",
    "output_files",
    "outputs_missing",
    "segmented",
    "worker_count",
    "zoomed_probabilities",
]

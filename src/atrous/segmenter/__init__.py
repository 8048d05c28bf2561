"""Segmentation of images: network, upsampling and CRF."""

from .batch import Done, segmented, worker_count
from .result import NetworkScores, Segmentation, most_probable, output_files, outputs_missing
from .segmenter import Segmenter
from .upsample import upsampled_probabilities

__all__ = [
    "Done",
    "NetworkScores",
    "Segmentation",
    "Segmenter",
    "most_probable",
    "output_files",
    "outputs_missing",
    "segmented",
    "upsampled_probabilities",
    "worker_count",
]

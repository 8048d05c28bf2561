"""The fully connected CRF on arrays: no network, no framework, only NumPy."""

from atrous.crf.dense import DenseCRF
from atrous.crf.kernels import Bilateral, Gaussian, Kernel, Spatial
from atrous.crf.presets import PRESETS, resolve
from atrous.crf.reduced import most_vertices
from atrous.crf.reference import exact, exact_inference
from atrous.crf.refinement import refine
from atrous.crf.result import Inference

__all__ = [
    "PRESETS",
    "Bilateral",
    "DenseCRF",
    "Gaussian",
    "Inference",
    "Kernel",
    "Spatial",
    "exact",
    "exact_inference",
    "most_vertices",
    "refine",
    "resolve",
]

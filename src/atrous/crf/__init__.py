"""The fully connected CRF on arrays: no network, no framework, only NumPy."""

from atrous.crf.dense import DenseCRF
from atrous.crf.kernels import Bilateral, Gaussian, Spatial
from atrous.crf.presets import PRESETS
from atrous.crf.reference import exact, exact_inference
from atrous.crf.result import Inference

__all__ = ["PRESETS", "Bilateral", "DenseCRF", "Gaussian", "Inference", "Spatial", "exact", "exact_inference"]

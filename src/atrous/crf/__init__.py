"""The fully connected CRF on arrays: no network, no framework, only NumPy."""

from atrous.crf.dense import DenseCRF
from atrous.crf.exact import exact
from atrous.crf.kernels import Bilateral, Gaussian, Spatial
from atrous.crf.presets import PRESETS

__all__ = ["PRESETS", "Bilateral", "DenseCRF", "Gaussian", "Spatial", "exact"]

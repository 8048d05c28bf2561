"""The fully connected CRF in PyTorch: a trainable layer, losses and the Gaussian filter alone (extra "torch")."""

from ..errors import MissingExtra

try:
    import torch  # noqa: F401
except ImportError:
    raise MissingExtra.of("torch is not installed, but CRF layers need it", "torch") from None

from .filters import gaussian_filter
from .layer import DenseCRFLayer
from .losses import DenseCRFLoss, GatedCRFLoss

__all__ = ["DenseCRFLayer", "DenseCRFLoss", "GatedCRFLoss", "gaussian_filter"]

"""Conversion between PyTorch tensors and NumPy arrays without importing PyTorch."""

import sys
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from atrous.errors import InputError, InputTypeError


class TensorLike(Protocol):
    """Structural type of a PyTorch tensor, so that PyTorch is not imported."""

    requires_grad: bool

    def detach(self) -> Any:
        """Return a tensor without gradients."""


Tensor = TypeVar("Tensor", bound=TensorLike)


def as_numpy(name: str, value: object) -> NDArray[Any]:
    """Return an array, a tensor or nested lists as a NumPy array, without a copy if possible.

    Raises InputError about the argument `name` if the value is not on the CPU or not numeric.
    """
    if isinstance(value, np.ndarray):
        return value
    if is_torch(value):
        return _tensor(name, value)
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputTypeError(f"{name}: expected an array of numbers, got {type(value).__name__} ({reason})") from None


def is_torch(value: object) -> bool:
    """Return whether `value` is a PyTorch tensor, or of a derived class."""
    return any(base.__name__ == "Tensor" and base.__module__.split(".")[0] == "torch" for base in type(value).__mro__)


def like(given: object, result: NDArray[Any]) -> Any:
    """Return a result as an array or tensor, like `given`.

    A tensor input gives a tensor: floats in its dtype, labels as uint8 or int32.
    """
    if not is_torch(given):
        return result
    torch = sys.modules["torch"]
    if result.dtype.kind == "f":
        tensor = torch.from_numpy(result)
        return tensor.to(given.dtype) if given.dtype.is_floating_point else tensor  # type: ignore[attr-defined]
    return torch.from_numpy(result if result.dtype == np.uint8 else result.astype(np.int32))


def _tensor(name: str, tensor: Any) -> NDArray[Any]:
    if tensor.requires_grad:
        raise InputError(f"{name}: expected a tensor without gradients, got one that requires them; call .detach()")
    if tensor.device.type != "cpu":
        raise InputError(f"{name}: expected a tensor on the CPU, got one on {tensor.device}; call .cpu()")
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()  # NumPy has no bfloat16
    try:
        return tensor.numpy()
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: expected a dense tensor of numbers, got {tensor.dtype} ({reason})") from None

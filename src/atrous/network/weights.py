"""Our own files of weights."""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from ..errors import InputError
from .deeplab import DeepLab

# In the header of a converted file: JSON that says where it comes from and which of its layers are random numbers.
HEADER_KEY = "atrous"

# In bytes: 41 tensors' names and places take 4,000. Reading a hundred thousand tensors takes minutes.
_LONGEST_HEADER = 1 << 20


def load_weights(net: DeepLab, path: str | os.PathLike[str]) -> None:
    """Fill all of a network from a safetensors file.

    Raises
    ------
    InputError
        If the file is not of such a network, or a weight is no finite number.
    """
    tensors = read_tensors(path)
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise InputError(f"{path}: {name!r:.60} holds {tensor.dtype}; expected floating-point numbers")
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{path}: is not of {net.name} with {net.classes} classes ({reason:.200})") from None
    for name, parameter in net.named_parameters():
        if not parameter.isfinite().all():
            raise InputError(f"{path}: {name} holds NaN or infinity; use another checkpoint")


def read_tensors(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read a safetensors file; InputError in one line where that fails."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected weights in safetensors format")
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if _LONGEST_HEADER < header < path.stat().st_size:
            raise InputError(f"{path}: expected a header of up to {_LONGEST_HEADER:,} bytes, got {header:,}")
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error!s:.200})") from None


def drawn_by_conversion(path: str | os.PathLike[str]) -> list[str]:
    """Return the layers that `atrous convert` drew at random, by a safetensors file's header; mostly none."""
    with safe_open(path, framework="pt") as file:
        header = (file.metadata() or {}).get(HEADER_KEY, "{}")
    try:
        return [str(layer) for layer in json.loads(header)["drawn"]]
    except (ValueError, KeyError, TypeError, RecursionError):  # somebody else's header
        return []

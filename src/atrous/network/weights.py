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


def load_weights(net: DeepLab, path: str | os.PathLike[str]) -> None:
    """Fill all of a network from a safetensors file; InputError if the file is not of such a network."""
    try:
        net.load_state_dict(read_tensors(path))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{path}: is not of {net.name} with {net.classes} classes ({reason})") from None


def read_tensors(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read a safetensors file; InputError in one line where that fails."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected weights in safetensors format")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error})") from None


def drawn_by_conversion(path: str | os.PathLike[str]) -> list[str]:
    """Return the layers that `atrous convert` drew at random, by a safetensors file's header; mostly none."""
    with safe_open(path, framework="pt") as file:
        header = (file.metadata() or {}).get(HEADER_KEY, "{}")
    try:
        return [str(layer) for layer in json.loads(header)["drawn"]]
    except (ValueError, KeyError, TypeError):  # somebody else's header
        return []

"""Secure readers of tensor files: safetensors, and PyTorch's pickled state dicts."""

import json
import os
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ..errors import InputError
from .deeplab import DeepLab

# Header entry of a converted file: JSON with its source and its randomly initialized layers.
HEADER_KEY = "atrous"

# Limit in bytes. Names and offsets of 41 tensors take 4,000 bytes; reading a hundred thousand tensors takes minutes.
_LONGEST_HEADER = 1 << 20


# Keys under which training scripts store weights. They take precedence over other dicts of the same size.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_DEEPEST = 3

# Parts of a file in the format before zip: magic number, version, machine, content, names of the storages.
_PICKLES = 5
_LARGEST_TUPLE = 1_000_000


def load_weights(net: DeepLab, path: str | os.PathLike[str]) -> None:
    """Load all weights of a network from a safetensors file.

    Raises
    ------
    InputError
        If the file is of another network, or a weight is not finite.
    """
    tensors = read_tensors(path)
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise InputError(f"{path}: expected floating-point numbers, got {tensor.dtype} in {name!r:.60}")
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{path}: expected weights of {net.name} with {net.classes} classes ({reason:.200})") from None
    for name, parameter in net.named_parameters():
        if not parameter.isfinite().all():
            raise InputError(f"{path}: {name} holds NaN or infinity; use another checkpoint")


def read_tensors(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Read a safetensors file; raise InputError with one line on failure."""
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
        raise InputError(f"{path}: expected a safetensors file ({error!s:.200})") from None


def drawn_by_conversion(path: str | os.PathLike[str]) -> list[str]:
    """Return the layers that `atrous convert` initialized at random, from a safetensors file's header; usually none."""
    with safe_open(path, framework="pt") as file:
        header = (file.metadata() or {}).get(HEADER_KEY, "{}")
    try:
        return [str(layer) for layer in json.loads(header)["drawn"]]
    except (ValueError, KeyError, TypeError, RecursionError):  # header of another program
        return []


def read_pickle(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.pth` file, in PyTorch's zip format or the older one.

    Raises
    ------
    InputError
        If the file is truncated, is not a state dict, or is a pickle that would execute code.
    """
    try:
        _check(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # the unpickler may raise any error for damaged files
        raise InputError(f"{path}: {_reason(error)}") from None
    tensors = _tensors(content)
    if not tensors:
        got = f"a {type(content).__name__}" if not isinstance(content, dict) else _keys(content)
        raise InputError(f"{path}: expected a state dict of tensors, got {got}; save model.state_dict()")
    return tensors


def _check(path: Path) -> None:
    """Reject compressed zip files, as PyTorch compresses none, and deeply nested tuples."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            for _ in range(_PICKLES):
                _check_tuples(path, stream)
        return
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise InputError(f"{path}: expected a state dict, got a compressed archive; unpack it and save it again")
        for entry in archive.infolist():
            if entry.filename.endswith(".pkl"):
                with archive.open(entry) as stream:
                    _check_tuples(path, stream)


def _check_tuples(path: Path, stream: IO[bytes]) -> None:
    """Reject tuples of shared tuples, nested many times: hashing them as keys visits each occurrence again.

    Forty levels of two elements take 200 bytes, and years to hash.
    """
    stack: list[int] = []  # number of values that each value contains; 0 for a mark
    memo: dict[Any, int] = {}
    for opcode, argument, _ in pickletools.genops(stream):
        name, count = opcode.name, len(opcode.stack_before)
        taken = []
        if pickletools.markobject in opcode.stack_before:
            count = opcode.stack_before.index(pickletools.markobject)
            while stack and (size := stack.pop()):
                taken.append(size)
        for _ in range(min(count, len(stack))):
            taken.append(stack.pop())
        if name == "MARK":
            stack.append(0)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT") and stack:
            memo[argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(argument, 1))
        elif name in ("MEMOIZE", "DUP") and taken:
            memo[len(memo)] = taken[0]
            stack += taken * len(opcode.stack_after)
        elif name.startswith("TUPLE"):
            stack.append(1 + sum(taken))
            if stack[-1] > _LARGEST_TUPLE:
                raise InputError(f"{path}: expected a state dict of tensors, got tuples of millions of values")
        else:
            stack += [1] * len(opcode.stack_after)


def _reason(error: Exception) -> str:
    text = str(error)
    if "Unsupported global" in text or "weights_only" in text.lower():
        return (
            "expected a state dict, got other objects than tensors, which could run code; save model.state_dict()"
            " alone in"
            " the program that wrote the file, or use safetensors"
        )
    if "TorchScript" in text or "torch.jit" in text:
        return "expected a state dict, got a TorchScript program; save its state_dict()"
    return "expected a file of PyTorch, got an unreadable or truncated one; fetch it again"


def _tensors(content: Any, depth: int = 0) -> dict[str, Tensor]:
    """Return the dict with the most tensors in a nested dict."""
    if not isinstance(content, dict):
        return {}
    here = {
        key: value.detach()
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor) and _is_stored(value)
    }
    if depth == _DEEPEST:
        return here
    keys = [*(key for key in _WRAPPERS if key in content), *(key for key in content if key not in _WRAPPERS)]
    return max((here, *(_tensors(content[key], depth + 1) for key in keys)), key=len)


def _is_stored(tensor: Tensor) -> bool:
    """Return whether all elements are stored in the file. A view may repeat one element any number of times."""
    return tensor.layout == torch.strided and tensor.untyped_storage().nbytes() >= tensor.nbytes


def _keys(content: dict[Any, Any]) -> str:
    names = [str(key)[:40] for key in list(content)[:4]]
    return f"a dict of {', '.join(names)}" if names else "an empty dict"

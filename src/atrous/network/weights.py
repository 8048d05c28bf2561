"""Files of tensors: safetensors, and state dicts that PyTorch pickled, read without running anything in them."""

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

# In the header of a converted file: JSON that says where it comes from and which of its layers are random numbers.
HEADER_KEY = "atrous"

# In bytes: 41 tensors' names and places take 4,000. Reading a hundred thousand tensors takes minutes.
_LONGEST_HEADER = 1 << 20


# Names under which training scripts keep the weights; of two dicts as large, an average of weights say, these win.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_DEEPEST = 3

# Of a file in the format before zip: a magic number, a version, the machine, the content, names of its numbers.
_PICKLES = 5
_LARGEST_TUPLE = 1_000_000


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


def read_pickle(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.pth`, in PyTorch's zip format or the one before.

    Raises
    ------
    InputError
        If it is cut short, is no state dict, or is a pickle that would have to be executed.
    """
    try:
        _check(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # a foreign or broken file may fail anywhere in the unpickler
        raise InputError(f"{path}: {_reason(error)}") from None
    tensors = _tensors(content)
    if not tensors:
        got = f"a {type(content).__name__}" if not isinstance(content, dict) else _keys(content)
        raise InputError(f"{path}: expected a state dict of tensors, got {got}; save model.state_dict()")
    return tensors


def _check(path: Path) -> None:
    """Refuse a zip file whose contents are larger than itself, as PyTorch compresses none, and endless tuples."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as stream:
            for _ in range(_PICKLES):
                _check_tuples(path, stream)
        return
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
            raise InputError(f"{path}: is a compressed archive; expected a state dict: unpack it and save it again")
        for entry in archive.infolist():
            if entry.filename.endswith(".pkl"):
                with archive.open(entry) as stream:
                    _check_tuples(path, stream)


def _check_tuples(path: Path, stream: IO[bytes]) -> None:
    """Refuse tuples of the same tuples of the same tuples: as keys, they are visited anew wherever they occur.

    Forty of two each take 200 bytes, and years to look up.
    """
    stack: list[int] = []  # how many values a value stands for; a mark is 0
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
                raise InputError(f"{path}: holds tuples of millions of values; expected a state dict of tensors")
        else:
            stack += [1] * len(opcode.stack_after)


def _reason(error: Exception) -> str:
    text = str(error)
    if "Unsupported global" in text or "weights_only" in text.lower():
        return (
            "holds more than tensors, which could run code when read; expected a state dict: where the file comes "
            "from, save model.state_dict() alone, or as safetensors"
        )
    if "TorchScript" in text or "torch.jit" in text:
        return "is a TorchScript program; expected a state dict: save its state_dict() instead"
    return "is no file of PyTorch's that can be read, or is cut short; fetch it again"


def _tensors(content: Any, depth: int = 0) -> dict[str, Tensor]:
    """Return the dict with most tensors in a nest of dicts."""
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
    """Whether all its numbers are in the file: a view may repeat one of them a million million times."""
    return tensor.layout == torch.strided and tensor.untyped_storage().nbytes() >= tensor.nbytes


def _keys(content: dict[Any, Any]) -> str:
    names = [str(key)[:40] for key in list(content)[:4]]
    return f"a dict of {', '.join(names)}" if names else "an empty dict"

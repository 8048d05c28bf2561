"""Where ONNX Runtime computes: the CPU, or an NVIDIA GPU where its build for CUDA is installed."""

import contextlib
import io
import re
from typing import Any

from .._quiet_imports import import_onnxruntime
from ..errors import InputError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

Providers = list[str | tuple[str, dict[str, Any]]]


def providers(device: str | None) -> Providers:
    """Return ONNX Runtime's execution providers for a device, the preferred one first.

    Parameters
    ----------
    device : str or None
        "cpu", "cuda" or "cuda:N"; None for CUDA where this build of ONNX Runtime has it, else the CPU.

    Raises
    ------
    InputError
        If the name is no device, or the build has no CUDA.
    """
    onnxruntime = import_onnxruntime()
    index = _cuda_index(device)
    if index is None or (device is None and CUDA not in onnxruntime.get_available_providers()):
        return [CPU]
    if CUDA not in onnxruntime.get_available_providers():
        raise InputError(
            f"device={device!r}: the installed ONNX Runtime computes on the CPU alone;"
            " pip install onnxruntime-gpu in place of onnxruntime, or use the device 'cpu'"
        )
    # Finds the CUDA libraries that pip installed; it prints what it misses, which the session then tells.
    if preload := getattr(onnxruntime, "preload_dlls", None):
        with contextlib.redirect_stdout(io.StringIO()):
            preload()
    # Photos come in many sizes: the exhaustive search, which is the default, would try all algorithms for each.
    return [(CUDA, {"device_id": index, "cudnn_conv_algo_search": "HEURISTIC"}), CPU]


def _cuda_index(device: str | None) -> int | None:
    """Return the number of a GPU, None for the CPU."""
    if device == "cpu":
        return None
    found = re.fullmatch(r"cuda(?::(\d{1,3}))?", device) if isinstance(device, str) else None
    if device is not None and found is None:
        raise InputError(f"device={device!r}: expected 'cpu', 'cuda' or 'cuda:N', or None for the best there is")
    return int(found[1] or 0) if found else 0

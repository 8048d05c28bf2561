"""Inference engines for exported networks: ONNX Runtime and OpenVINO, without PyTorch."""

import os
import platform
from importlib.util import find_spec

from .._quiet_imports import import_onnxruntime
from ..errors import InputError
from .base import Engine, ExportedEngine, bundled_model_path, model_files
from .onnxruntime import CUDA, OnnxEngine
from .openvino import OpenVinoEngine

ENGINES = ("onnxruntime", "openvino")

# Processors on which OpenVINO was faster in measurements. On arm64, OpenVINO is used only if requested.
_MEASURED = ("x86_64", "amd64")


def exported_engine(
    path: str | os.PathLike[str], *, threads: int | None = None, device: str | None = None, engine: str | None = None
) -> ExportedEngine:
    """Load an exported model.

    Parameters
    ----------
    path : path
        An ONNX file with the metadata of atrous.
    threads : int, optional
        Threads of one forward pass. Default: all cores.
    device : str, optional
        "cpu", "cuda" or "cuda:N". Default: CUDA if it is available, else the CPU.
    engine : str, optional
        "onnxruntime", or "openvino", which runs on the CPU. Default: on the CPU of an x86-64 machine OpenVINO, if it is
        installed and can load the model, else ONNX Runtime.

    Raises
    ------
    InputError
        If the engine or the device does not exist, or the model cannot be loaded.
    MissingExtra
        If `engine` is "openvino" and OpenVINO is not installed.
    """
    if engine not in (None, *ENGINES):
        raise InputError(f"engine={engine!r}: expected 'onnxruntime' or 'openvino', or None for the fastest")
    if engine == "openvino":
        if device not in (None, "cpu"):
            raise InputError(f"device={device!r}: expected 'cpu' for OpenVINO; use engine='onnxruntime' for a GPU")
        return OpenVinoEngine(path, threads=threads)
    if engine is None and device in (None, "cpu") and _openvino_is_best():
        if device is None and (gpu := _gpu_engine(path, threads)):
            return gpu
        try:
            return OpenVinoEngine(path, threads=threads)
        except InputError:
            pass  # ONNX Runtime may load it, or reports the reason
    return OnnxEngine(path, threads=threads, device=device)


def _openvino_is_best() -> bool:
    return platform.machine().lower() in _MEASURED and find_spec("openvino") is not None


def _gpu_engine(path: str | os.PathLike[str], threads: int | None) -> OnnxEngine | None:
    if CUDA not in import_onnxruntime().get_available_providers():
        return None
    engine = OnnxEngine(path, threads=threads)
    return engine if engine.device != "cpu" else None


__all__ = [
    "ENGINES",
    "Engine",
    "ExportedEngine",
    "OnnxEngine",
    "OpenVinoEngine",
    "bundled_model_path",
    "exported_engine",
    "model_files",
]

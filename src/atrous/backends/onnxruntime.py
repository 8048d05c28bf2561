"""The ONNX Runtime engine."""

import contextlib
import io
import os
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._quiet_imports import import_onnxruntime
from .._resources import cuda_index, processors
from ..errors import InputError
from .base import ExportedEngine

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

Providers = list[str | tuple[str, dict[str, Any]]]


def providers(device: str | None) -> Providers:
    """Return ONNX Runtime's execution providers for a device, the preferred one first.

    Parameters
    ----------
    device : str or None
        "cpu", "cuda" or "cuda:N"; None for CUDA if this build of ONNX Runtime has it, else the CPU.

    Raises
    ------
    InputError
        If the device is unknown, or this build has no CUDA.
    """
    onnxruntime = import_onnxruntime()
    index = cuda_index(device)
    if index is None or (device is None and CUDA not in onnxruntime.get_available_providers()):
        return [CPU]
    if CUDA not in onnxruntime.get_available_providers():
        raise InputError(
            f"device={device!r}: expected 'cpu', as the installed ONNX Runtime has no CUDA;"
            " pip install onnxruntime-gpu in place of onnxruntime to use a GPU"
        )
    # Finds the CUDA libraries that pip installed. Its output is suppressed: the session reports missing libraries.
    if preload := getattr(onnxruntime, "preload_dlls", None):
        with contextlib.redirect_stdout(io.StringIO()):
            preload()
    # Images have many sizes, and the default, an exhaustive search, would try all algorithms for each size.
    return [(CUDA, {"device_id": index, "cudnn_conv_algo_search": "HEURISTIC"}), CPU]


_WARNING, _FATAL = 2, 4  # ONNX Runtime's default log severity and its highest


class OnnxEngine(ExportedEngine):
    """Engine for a model exported by `atrous export`, on ONNX Runtime.

    Parameters
    ----------
    path : path
        An ONNX file with the metadata of atrous.
    threads : int, optional
        Threads of one forward pass. Default: all cores.
    device : str, optional
        "cpu", "cuda" or "cuda:N". Default: CUDA if the installed ONNX Runtime has it and finds a GPU, else the CPU.

    Attributes
    ----------
    path : Path
    metadata : ModelMetadata
    device : str
        "cpu", "cuda" or "cuda:N".

    Raises
    ------
    InputError
        If the file does not exist or is not a model exported by `atrous export`, or the device is not available.
    """

    name = "onnxruntime"

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None, device: str | None = None) -> None:
        onnxruntime = import_onnxruntime()
        super().__init__(path)
        self.threads = threads
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = threads if threads is not None else processors()
        # By default, ONNX Runtime reads a file named .ort as another format than the one that was checked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        # Between two images the threads of ONNX Runtime would spin on cores that the CRF needs.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        execution_providers = providers(device)
        try:
            if execution_providers != [CPU]:  # it logs missing libraries at length, regardless of the options
                onnxruntime.set_default_logger_severity(_FATAL)
            try:
                self._session = onnxruntime.InferenceSession(
                    os.fspath(self.path), options, providers=execution_providers, enable_fallback=0
                )
            except Exception:
                # Fall back to the CPU silently; ONNX Runtime's own fallback prints a message.
                if execution_providers == [CPU]:
                    raise
                self._session = onnxruntime.InferenceSession(os.fspath(self.path), options, providers=[CPU])
        except Exception as error:  # ONNX Runtime has no public base class for its errors
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise InputError(f"{self.path}: expected a model that ONNX Runtime can load ({reason})") from None
        finally:
            if execution_providers != [CPU]:
                onnxruntime.set_default_logger_severity(_WARNING)
        on_gpu = CUDA in self._session.get_providers()
        if device is not None and device != "cpu" and not on_gpu:
            raise InputError(
                f"device={device!r}: expected a usable GPU, but ONNX Runtime cannot start CUDA (no such GPU, or its"
                " driver, CUDA or cuDNN is missing); see nvidia-smi, or use the device 'cpu'"
            )
        self.device = (device or "cuda") if on_gpu else "cpu"

    def __reduce__(self) -> Any:
        # Another process reads the file again. The metadata travels along, since the caller may have changed it.
        made = partial(type(self), threads=self.threads, device=self.device)
        return made, (self.path.absolute(),), {"metadata": self.metadata}

    def _forward(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        (scores,) = self._session.run(["scores"], {"image": blob})
        return scores

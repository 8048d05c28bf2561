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
        "cpu", "cuda" or "cuda:N"; None for CUDA where this build of ONNX Runtime has it, else the CPU.

    Raises
    ------
    InputError
        If the name is no device, or the build has no CUDA.
    """
    onnxruntime = import_onnxruntime()
    index = cuda_index(device)
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


_WARNING, _FATAL = 2, 4  # of ONNX Runtime's levels of severity, the usual one and the last


class OnnxEngine(ExportedEngine):
    """Runs a model exported by `atrous export` on ONNX Runtime.

    Parameters
    ----------
    path : path
        An ONNX file with atrous' metadata.
    threads : int, optional
        Threads of one forward pass; all cores if left out.
    device : str, optional
        "cpu", "cuda" or "cuda:N". If left out, CUDA where the installed ONNX Runtime has it and a GPU answers,
        else the CPU.

    Attributes
    ----------
    path : Path
    metadata : ModelMetadata
    device : str
        "cpu", "cuda" or "cuda:N".

    Raises
    ------
    InputError
        If there is no such file, it is no ONNX model, or not one of ours; if the device cannot be used.
    """

    name = "onnxruntime"

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None, device: str | None = None) -> None:
        onnxruntime = import_onnxruntime()
        super().__init__(path)
        self.threads = threads
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = threads if threads is not None else processors()
        # A file named .ort would be read as another format than the one that was checked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        # Between two photos its threads would spin on the cores that the CRF wants.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        wanted = providers(device)
        try:
            if wanted != [CPU]:  # of libraries that are missing it says a screenful, whatever the options say
                onnxruntime.set_default_logger_severity(_FATAL)
            try:
                self._session = onnxruntime.InferenceSession(
                    os.fspath(self.path), options, providers=wanted, enable_fallback=0
                )
            except Exception:
                # Without a word, unlike ONNX Runtime's own way back to the CPU.
                if wanted == [CPU]:
                    raise
                self._session = onnxruntime.InferenceSession(os.fspath(self.path), options, providers=[CPU])
        except Exception as error:  # ONNX Runtime has no public base class for its errors
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise InputError(f"{self.path}: not a model that ONNX Runtime can load ({reason})") from None
        finally:
            if wanted != [CPU]:
                onnxruntime.set_default_logger_severity(_WARNING)
        on_gpu = CUDA in self._session.get_providers()
        if device is not None and device != "cpu" and not on_gpu:
            raise InputError(
                f"device={device!r}: ONNX Runtime cannot start CUDA (no such GPU, or its driver, CUDA or cuDNN is"
                " missing); see nvidia-smi, or use the device 'cpu'"
            )
        self.device = (device or "cuda") if on_gpu else "cpu"

    def __reduce__(self) -> Any:
        # In another process the file is read again; the metadata may have been changed since it was here.
        made = partial(type(self), threads=self.threads, device=self.device)
        return made, (self.path.absolute(),), {"metadata": self.metadata}

    def _forward(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        (scores,) = self._session.run(["scores"], {"image": blob})
        return scores

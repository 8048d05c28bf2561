"""The OpenVINO engine (extra "openvino"), faster than ONNX Runtime on x86-64."""

import contextlib
import ctypes
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._quiet_imports import import_openvino
from .._resources import processors
from ..errors import InputError
from .base import ExportedEngine

# OpenVINO caches the kernels compiled for an image size: about 25 per size, 1 MiB in all. Its default capacity of 5,000
# could fill the memory with many sizes. Compiling them again takes a tenth of an image's time.
CACHED_KERNELS = 256

# The first call of a process initializes tables in OpenVINO's bindings under two locks, the GIL and the tables' own.
# Two threads that make their first calls at the same time can deadlock.
_first_call = threading.Lock()


class OpenVinoEngine(ExportedEngine):
    """Engine for a model exported by `atrous export`, on OpenVINO and the CPU.

    Parameters
    ----------
    path : path
        An ONNX file with the metadata of atrous.
    threads : int, optional
        Threads of one forward pass. Default: all cores.

    Attributes
    ----------
    path : Path
    metadata : ModelMetadata
    device : str
        "cpu".

    Raises
    ------
    InputError
        If the file does not exist or is not a model exported by `atrous export`.
    MissingExtra
        If OpenVINO is not installed.
    """

    name = "openvino"
    _called = False  # whether a call has finished, in any thread of the process

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None) -> None:
        super().__init__(path)
        self.threads = threads
        openvino = import_openvino()
        try:
            # Core.read_model would try the readers of all formats, and they print errors.
            reader = openvino.frontend.FrontEndManager().load_by_framework("onnx")
            model = reader.convert(reader.load(os.fspath(self.path)))
        except Exception as error:
            raise self._cannot_load(error) from None
        streams, in_all = streams_and_threads(threads, processors())
        settings = {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": in_all,
            # The CRF's threads run at the same time. Without pinning, the system can balance both.
            "ENABLE_CPU_PINNING": False,
            # By default, layers that are not quantized run in bfloat16 on processors that support it.
            "INFERENCE_PRECISION_HINT": "f32",
            "CPU_RUNTIME_CACHE_CAPACITY": CACHED_KERNELS,
        }
        try:
            with own_signal_stack():
                self._compiled = openvino.Core().compile_model(model, "CPU", settings)
        except Exception as error:
            raise self._cannot_load(error) from None
        # A request computes one image at a time. There is one for each thread that called at the same time.
        self._idle: deque[Any] = deque()

    def __reduce__(self) -> Any:
        # Another process reads the file again. The metadata travels along, since the caller may have changed it.
        return partial(type(self), threads=self.threads), (self.path.absolute(),), {"metadata": self.metadata}

    def _forward(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        if OpenVinoEngine._called:
            return self._infer(blob)
        with _first_call:
            scores = self._infer(blob)
            OpenVinoEngine._called = True
        return scores

    def _infer(self, blob: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        (scores,) = request.infer({"image": blob}, share_inputs=True).values()
        self._idle.append(request)
        return scores

    def _cannot_load(self, error: Exception) -> InputError:
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        return InputError(f"{self.path}: expected a model that OpenVINO can load ({lines[-1].strip()[:200]})")


def streams_and_threads(threads: int | None, cores: int) -> tuple[int, int]:
    """Return the number of images computed at the same time, and the number of threads of all of them together.

    Parameters
    ----------
    threads : int or None
        Threads per image; None for all cores.
    cores : int
    """
    threads = cores if threads is None else threads
    streams = max(1, cores // threads)
    return streams, streams * threads


@contextlib.contextmanager
def own_signal_stack() -> Iterator[None]:
    """Restore this thread's signal stack after the block.

    On Linux, OpenVINO replaces the stack by one of 4 KiB more than the minimum, which can be too small for Python's
    handlers: the first Ctrl-C, or the end of a child process, caused a segmentation fault.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    c = ctypes.CDLL(None)
    before = ctypes.create_string_buffer(64)  # stack_t is 24 bytes
    c.sigaltstack(None, before)
    try:
        yield
    finally:
        c.sigaltstack(before, None)

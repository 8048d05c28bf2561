"""The OpenVINO engine: quicker than ONNX Runtime on x86-64, of the extra "openvino"."""

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

# Kernels that were made for one size of photo are kept for the next of that size: some 25 for a size, 1 MiB. All
# sizes' (OpenVINO keeps 5,000 unless told) would fill the memory; making them again takes a tenth of a photo's time.
KERNELS_KEPT = 256

# Its binding sets up tables in the first call of a process, holding Python's lock and waiting for the tables' or the
# other way round: two threads that make their first call at the same time would wait for each other for ever.
_first_call = threading.Lock()


class OpenVinoEngine(ExportedEngine):
    """Runs a model exported by `atrous export` on OpenVINO, on the CPU.

    Parameters
    ----------
    path : path
        An ONNX file with atrous' metadata.
    threads : int, optional
        Threads of one forward pass; all cores if left out.

    Attributes
    ----------
    path : Path
    metadata : ModelMetadata
    device : str
        "cpu".

    Raises
    ------
    InputError
        If there is no such file, it is no ONNX model, or not one of ours.
    MissingExtra
        If OpenVINO is not installed.
    """

    name = "openvino"
    _called = False  # by any thread of the process, and answered

    def __init__(self, path: str | os.PathLike[str], *, threads: int | None = None) -> None:
        super().__init__(path)
        self.threads = threads
        openvino = import_openvino()
        try:
            # Core.read_model would ask the readers of all other formats too, who print what they dislike.
            reader = openvino.frontend.FrontEndManager().load_by_framework("onnx")
            model = reader.convert(reader.load(os.fspath(self.path)))
        except Exception as error:
            raise self._cannot_load(error) from None
        streams, in_all = streams_and_threads(threads, processors())
        settings = {
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": in_all,
            # The CRF's threads run beside it; where nothing is pinned the system moves either.
            "ENABLE_CPU_PINNING": False,
            # What is not quantized would be computed in bfloat16 where the processor has it.
            "INFERENCE_PRECISION_HINT": "f32",
            "CPU_RUNTIME_CACHE_CAPACITY": KERNELS_KEPT,
        }
        try:
            with own_signal_stack():
                self._compiled = openvino.Core().compile_model(model, "CPU", settings)
        except Exception as error:
            raise self._cannot_load(error) from None
        # A request computes one photo at a time: one for each thread that has ever asked at the same time.
        self._idle: deque[Any] = deque()

    def __reduce__(self) -> Any:
        # In another process the file is read again; the metadata may have been changed since it was here.
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
        return InputError(f"{self.path}: not a model that OpenVINO can load ({lines[-1].strip()[:200]})")


def streams_and_threads(threads: int | None, cores: int) -> tuple[int, int]:
    """Return how many photos are computed at the same time, more of them wait, and the threads of all together.

    Parameters
    ----------
    threads : int or None
        Of each photo; all cores if None.
    cores : int
    """
    threads = cores if threads is None else threads
    streams = max(1, cores // threads)
    return streams, streams * threads


@contextlib.contextmanager
def own_signal_stack() -> Iterator[None]:
    """Leave the stack on which this thread's signals are served as it is.

    OpenVINO puts its own in its place (Linux), whose 4 KiB above the least do not always hold Python's handlers: the
    first Ctrl-C, or the end of a child process, was a segmentation fault.
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

"""Decoder processes with limits on memory and time."""

import atexit
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from .base import Damaged, Limits, Prepared, TooLarge, Unsupported

_WORKER = Path(__file__).with_name("_worker.py")
_PATIENCE = 6  # seconds of wall time per second of processor time, for a busy machine
_MOST_IDLE = 8
_OVER_TIME = -getattr(signal, "SIGXCPU", 24)
_ERRORS = {"Damaged": Damaged, "TooLarge": TooLarge, "Unsupported": Unsupported}


def can_isolate() -> bool:
    """Return whether a process can be started. A frozen application has no interpreter for the decoder."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


class _Ended(Exception):
    """A decoder process ended before it replied."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class DecoderProcess:
    """Process that decodes images, one after the other.

    A process is not reused after a crash or a timeout, or if it has taken much memory.

    Attributes
    ----------
    used : bool
        Whether the process has decoded an image before.
    usable : bool
        Whether the process can decode another image.
    """

    def __init__(self) -> None:
        self.used, self.usable = False, True
        # The child searches modules where this process finds them, even if the path has changed since the start.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            [sys.executable, "-P", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )

    def decode(self, prepared: Prepared, limits: Limits) -> tuple[Image.Image, int]:
        """Decode an image; see `decode_isolated` for the result.

        Raises
        ------
        Damaged, TooLarge, Unsupported
        _Ended
            If the process ends before it replies.
        """
        seconds = math.ceil(limits.seconds + len(prepared.data) / 1e6)
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(_PATIENCE * seconds, end)
        timer.daemon = True
        timer.start()
        self.usable = False
        try:
            about, pixels = self._ask(prepared, limits, seconds)
            self.used, self.usable = True, not about["last"]
        except _Ended as error:
            if late.is_set() or error.status == _OVER_TIME:
                raise TooLarge(f"takes more than {seconds} s to decode; save it as JPEG or PNG") from None
            raise
        finally:
            timer.cancel()
        if about.get("error") == "MemoryError":
            raise TooLarge(f"takes more than {limits.memory / 2**30:.3g} GiB to decode; scale the image down first")
        if "error" in about:
            raise _ERRORS[about["error"]](about["reason"])
        mode, size = about["mode"], tuple(about["size"])
        return Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1), about["orientation"]

    def _ask(self, prepared: Prepared, limits: Limits, seconds: int) -> tuple[dict[str, Any], bytes]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        about = {field.name: getattr(prepared, field.name) for field in dataclasses.fields(prepared)}
        size = len(about.pop("data"))
        order = {"prepared": about, "limits": dataclasses.asdict(limits), "seconds": seconds, "bytes": size}
        # A process may reply and then end.
        with suppress(OSError):
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.write(prepared.data)
            self._process.stdin.flush()
        head = self._process.stdout.readline()
        if head.endswith(b"\n"):
            answer = json.loads(head)
            pixels = self._process.stdout.read(answer.get("bytes", 0))
            if len(pixels) == answer.get("bytes", 0):
                return answer, pixels
        raise _Ended(self._process.wait())

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()

    def close(self) -> None:
        """End the process, and release its pipes."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()
        self._process.wait()


_idle: list[DecoderProcess] = []
_busy: set[DecoderProcess] = set()
_changing = threading.Lock()


def decode_isolated(prepared: Prepared, limits: Limits) -> tuple[Image.Image, int]:
    """Decode an image in another process, which may be a reused one.

    Parameters
    ----------
    prepared : Prepared
    limits : Limits
        Systems without limits on the memory or processor time of a process (Windows; macOS for memory) apply only the
        remaining limits and a timeout.

    Returns
    -------
    image : PIL image
        Of mode L, LA, RGB, RGBA, CMYK, I;16, I or F.
    orientation : int
        EXIF orientation, 1 to 8, not yet applied.

    Raises
    ------
    Damaged, TooLarge, Unsupported
    """
    while True:
        with _changing:
            process = _idle.pop() if _idle else None
        if process is None:
            process = DecoderProcess()
        with _changing:
            _busy.add(process)
        used = process.used
        try:
            return process.decode(prepared, limits)
        except _Ended as error:
            if not used:
                raise Damaged(f"the decoder ended with status {error.status}") from None
            # Retry: the process timed out before this image, or an earlier image damaged it.
        finally:
            _give_back(process)


def _give_back(process: DecoderProcess) -> None:
    with _changing:
        _busy.discard(process)
        if process.usable and len(_idle) < _MOST_IDLE:
            _idle.append(process)
            return
    process.close()


@atexit.register
def close_idle() -> None:
    """End the idle processes."""
    with _changing:
        ended = _idle.copy()
        _idle.clear()
    for process in ended:
        process.close()


def kill_decoders() -> None:
    """Kill the processes that decode, for a program that ends without waiting for them."""
    with _changing:
        for process in _busy:
            process.kill()
    close_idle()


def _forget() -> None:
    """Drop the processes, which belong to the parent. A forked child must not use them."""
    global _changing
    _changing = threading.Lock()
    _idle.clear()
    _busy.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

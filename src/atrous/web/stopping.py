"""Signals that end a server, at any time, such that it tidies up."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn


class _Stopped(BaseException):
    """A signal to end came."""


@contextmanager
def stopping() -> Iterator[Callable[[], None]]:
    """Leave the block, and nothing more, at Ctrl-C, at SIGTERM, and when the terminal is closed (SIGHUP).

    By default the last two would end the process before it has tidied up. While uvicorn serves it takes the first two
    itself, and raises them again when it is done. A process told to outlive its terminal (nohup) does.

    Yields
    ------
    callable
        Leaves the block if a signal has come: a library that catches everything may have caught what it raised.
    """
    asked = False

    def check() -> None:
        if asked:
            raise _Stopped

    if threading.current_thread() is not threading.main_thread():
        yield check
        return

    def stop(*_: object) -> NoReturn:
        nonlocal asked
        asked = True
        raise _Stopped

    def hang_up(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        with suppress(KeyboardInterrupt, _Stopped):
            yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

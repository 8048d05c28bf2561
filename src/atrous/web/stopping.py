"""Signals that end a server, at any time, such that it tidies up."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn


class _Stopped(BaseException):
    """SIGTERM came."""


@contextmanager
def stopping() -> Iterator[None]:
    """Leave the block, and nothing more, at Ctrl-C, at SIGTERM, and when the terminal is closed (SIGHUP).

    By default the last two would end the process before it has tidied up. While uvicorn serves it takes the first two
    itself, and raises them again when it is done. A process told to outlive its terminal (nohup) does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> NoReturn:
        raise _Stopped

    def hang_up(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        with suppress(KeyboardInterrupt, _Stopped):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""HTTP connections with limits on number and time."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

ACCEPTED_AT_ONCE = 32  # connections, before the event loop looks at their requests


class LimitedProtocol(H11Protocol):
    """An HTTP connection with limits; `limited_protocol` sets them.

    Clients that send nothing, or half a request, keep nobody out: at the limit, the oldest of them is disconnected.

    Attributes
    ----------
    most : int
        Connections.
    seconds : float
        For a request's headers to arrive, and for the client to read a part of the response.
    waiting : dict
        The connections whose request is not complete, the one that has waited longest first.
    """

    most: int
    seconds: float
    waiting: dict["LimitedProtocol", None]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request; close another connection if there are too many."""
        super().connection_made(transport)
        self._wait()
        while len(self.connections) > self.most:
            oldest = next(iter(self.waiting))
            del self.waiting[oldest]
            self.connections.discard(oldest)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self.waiting.pop(self, None)
        _cancel(self._read_timer)
        _cancel(self._write_timer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Stop the clock when the headers are complete, and waiting when the request is."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            _cancel(self._read_timer)
            if not self.cycle.more_body:
                self.waiting.pop(self, None)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if not self.transport.is_closing():
            self._wait()

    def pause_writing(self) -> None:
        """Abort the connection if the client does not read on."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that clock."""
        super().resume_writing()
        _cancel(self._write_timer)

    def _wait(self) -> None:
        self.waiting.setdefault(self)
        _cancel(self._read_timer)
        self._read_timer = self.loop.call_later(self.seconds, self.transport.abort)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def limited_protocol(most: int, seconds: float) -> type[LimitedProtocol]:
    """Return a server's protocol with these limits; half of the file descriptors stay free."""
    if resource is not None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            most = max(1, min(most, soft // 2 - ACCEPTED_AT_ONCE))
    return type("ServerProtocol", (LimitedProtocol,), {"most": most, "seconds": seconds, "waiting": {}})

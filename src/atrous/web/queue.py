"""The bounded queue of requests that compute."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from .errors import RequestError, input_errors

T = TypeVar("T")
RETRY_SECONDS = 5


class WorkQueue:
    """Worker threads, and requests that wait for them.

    Parameters
    ----------
    workers, limit : int
        Requests computed at a time, and requests that may wait beside those.
    seconds : float
        Deadline of a request, waiting included.
    """

    def __init__(self, workers: int, limit: int, seconds: float) -> None:
        self.workers, self.limit, self.seconds = workers, limit, seconds
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="atrous")
        self._unfinished: set[Future[Any]] = set()  # running or waiting; includes those whose caller has left
        self._awaited: set[asyncio.Future[Any]] = set()
        self._closed = False

    @property
    def running(self) -> int:
        """Requests being computed."""
        return min(len(self._unfinished), self.workers)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return max(0, len(self._unfinished) - self.workers)

    def check_room(self) -> None:
        """Raise RequestError (429) if the queue is full; called before an upload is read."""
        if self._closed:
            raise _stopping()
        if len(self._unfinished) >= self.workers + self.limit:
            message = f"{self.waiting} requests are waiting; ask again in {RETRY_SECONDS} s"
            raise RequestError(429, message, retry_after=RETRY_SECONDS)

    async def run(self, work: Callable[[], T]) -> T:
        """Compute in a worker thread and return the result; a caller that is canceled leaves the queue.

        Raises RequestError if the queue is full (429), the server is stopping or the deadline has passed (503).
        """
        self.check_room()
        future = self._pool.submit(_run, work)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        awaited = asyncio.wrap_future(future)
        self._awaited.add(awaited)
        try:
            async with asyncio.timeout(self.seconds) as deadline:
                return await awaited
        except TimeoutError:
            if not deadline.expired():  # an error of the work
                raise
            raise RequestError(503, f"not computed within {self.seconds:g} s; try a smaller image") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):  # the server canceled it, not the client
                raise _stopping() from None
            raise
        finally:
            self._awaited.discard(awaited)

    def close(self) -> None:
        """Refuse new and waiting requests (503); running ones continue."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def abandon(self) -> None:
        """Answer running requests with 503; their threads continue."""
        for awaited in list(self._awaited):
            awaited.cancel()


def _run(work: Callable[[], T]) -> T:
    with input_errors():
        return work()


def _stopping() -> RequestError:
    return RequestError(503, "the server is stopping; ask again later", retry_after=10)

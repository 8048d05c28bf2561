"""One bounded queue for the page and the HTTP interface."""

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from .refused import Refused

T = TypeVar("T")


class WorkQueue:
    """A few threads that compute, and a bounded number of requests that wait for them.

    Parameters
    ----------
    workers : int
    limit : int
        Requests that may wait beside those that are computed.
    """

    def __init__(self, workers: int, limit: int) -> None:
        self.workers = workers
        self.limit = limit
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="atrous")
        self._lock = threading.Lock()
        self._inside = 0
        self._seconds = 1.0  # of a piece of work, lately
        self._closed = False

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return max(0, self._inside - self.workers)

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken."""
        return self._closed

    @property
    def busy(self) -> bool:
        """Whether anything is computed or waits."""
        return self._inside > 0

    @property
    def running(self) -> int:
        """Requests that are computed."""
        return min(self._inside, self.workers)

    def check_room(self) -> None:
        """Raise Refused (429) if the queue is full: better said before an upload is read."""
        if self._closed:
            raise _going_down()
        if self._inside >= self.workers + self.limit:
            seconds = math.ceil(self._seconds * self._inside / self.workers)
            raise Refused(
                429, f"{self.waiting} requests wait already; ask again in {seconds} s", retry_after=max(1, seconds)
            )

    async def run(self, work: Callable[[], T]) -> T:
        """Compute in a thread and return the result; a caller who is cancelled leaves the queue.

        Raises
        ------
        Refused
            If the queue is full (429) or closed (503).
        """
        with self._lock:
            self.check_room()
            self._inside += 1
        try:
            future = self._pool.submit(self._timed, work)
        except RuntimeError:  # closed meanwhile
            self._left()
            raise _going_down() from None
        future.add_done_callback(self._left)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):  # the caller is still there, his turn never comes
                raise _going_down() from None
            raise

    def leave_off(self) -> None:
        """Take nothing more and refuse who waits (503); what is computed goes on."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """Leave off, and wait for what is computed."""
        self.leave_off()
        self._pool.shutdown(wait=True)

    def _timed(self, work: Callable[[], T]) -> T:
        begun = time.perf_counter()
        try:
            return work()
        finally:
            self._seconds += 0.1 * (time.perf_counter() - begun - self._seconds)

    def _left(self, _: "Future[T] | None" = None) -> None:
        with self._lock:
            self._inside -= 1


def _going_down() -> Refused:
    return Refused(503, "the server is going down; ask again later", retry_after=10)

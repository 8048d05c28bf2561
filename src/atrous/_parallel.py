"""Ordered parallel map and prefetching in threads."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import TypeVar

from ._resources import check_threads

Item = TypeVar("Item")
Result = TypeVar("Result")

_END = object()


def map_ordered(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order; threads compute a few ahead.

    Parameters
    ----------
    function
        Called in the threads; decoding images releases the GIL.
    items
        Taken as they are needed.
    threads : int, optional
        The number of processors if left out. With 1 the caller's thread computes, and nothing is prefetched.
    """
    threads = check_threads(threads)
    if threads == 1:
        yield from map(function, items)
        return
    ahead: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            # Where the caller stops early, by an error or Ctrl-C, calls that have not started are dropped.
            for future in ahead:
                future.cancel()


def prefetch(items: Generator[Item, None, None], size: int) -> Generator[Item, None, None]:
    """Yield a generator's items while a thread computes up to `size` further ones.

    An error of the generator is raised at its place. Closed early, by an error or Ctrl-C, this waits until the thread
    has ended: for one item at most.
    """
    queue: Queue[object] = Queue(size)
    stopped = threading.Event()
    failure: list[BaseException] = []

    def put(item: object) -> None:
        while not stopped.is_set():
            with suppress(Full):
                queue.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    break
        except BaseException as error:
            failure.append(error)
        finally:
            items.close()
            put(_END)

    thread = threading.Thread(target=work, name=getattr(items, "__name__", "prefetch"), daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not _END:
            yield item  # type: ignore[misc]
        if failure:
            raise failure[0]
    finally:
        stopped.set()
        with suppress(Empty):
            while True:
                queue.get_nowait()
        thread.join()

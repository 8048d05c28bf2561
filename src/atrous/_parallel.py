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
    """Yield `function(item)` for each item, in order. Threads compute a few results in advance.

    Parameters
    ----------
    function
        Called in the threads. Decoding of images releases the GIL.
    items
        Iterated lazily.
    threads : int, optional
        Default: the number of processors. With 1, the caller's thread computes each item without prefetching.
    """
    threads = check_threads(threads)
    if threads == 1:
        yield from map(function, items)
        return
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # If the caller stops early, by an error or Ctrl-C, pending calls are canceled.
            for future in pending:
                future.cancel()


def prefetch(items: Generator[Item, None, None], size: int) -> Generator[Item, None, None]:
    """Yield a generator's items while a thread computes up to `size` further ones.

    Errors of the generator are raised in order. If the caller closes this generator early, for example after Ctrl-C, it
    waits for the thread, which finishes at most one item.
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

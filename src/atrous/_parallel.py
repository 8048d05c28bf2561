"""Many files at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ._cpu_count import processors

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order; a few are worked on ahead, in threads.

    Parameters
    ----------
    function
        Decoding pictures leaves Python to the other threads.
    items
        Taken as they are needed.
    threads : int, optional
        As many as there are processors if left out. One is the caller's own, and nothing is worked on ahead.
    """
    threads = threads or processors()
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
            # Where the reader stops early, by an error or Ctrl-C, what has not begun is dropped.
            for future in ahead:
                future.cancel()

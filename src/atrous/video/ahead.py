"""Work that goes on in another thread while its results are used."""

import threading
from collections.abc import Generator
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import TypeVar

Item = TypeVar("Item")

_END = object()


def ahead(items: Generator[Item, None, None], size: int) -> Generator[Item, None, None]:
    """Yield a generator's items; it runs in a thread, at most `size` items ahead.

    What it raises is raised here, in its place. Closed early, by an error or Ctrl-C, this waits until the thread has
    ended: for one item at most.
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

    thread = threading.Thread(target=work, name=getattr(items, "__name__", "ahead"), daemon=True)
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

"""Segmentation of many images, with decoding, network, CRF and writing overlapped in threads."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._resources import check_threads
from ..errors import InputError
from ..image_io.decode import read_image
from .result import Segmentation
from .segmenter import Segmenter

Item = TypeVar("Item")
Made = TypeVar("Made")

# More images use more memory and add little speed. Above this number, each image's CRF has several threads.
MOST_WORKERS = 8

# Larger images are processed one at a time, with all threads for the CRF.
LARGE = 4_000_000

# Interval in seconds at which a waiting caller checks for Ctrl-C, for systems where waiting blocks it (Windows).
_PATIENCE = 0.5


@dataclass(frozen=True)
class Done(Generic[Item, Made]):
    """Result of one item.

    Attributes
    ----------
    item
        The item.
    made
        Return value of `finish`, or the Segmentation; None after an error.
    error : Exception or None
        Exception from reading, segmenting or finishing the item.
    seconds : float
        Time from the start of reading to the end, including waits for other images.
    """

    item: Item
    made: Made | None
    error: Exception | None
    seconds: float


def segmented(
    segmenter: Segmenter,
    items: Iterable[Item],
    *,
    read: Callable[[Item], Any] | None = None,
    finish: Callable[[Item, Segmentation], Any] | None = None,
    threads: int | None = None,
    ahead: int = 2,
) -> Generator[Done[Item, Any], None, None]:
    """Segment many images, several at a time; yield a result for each, in order.

    One worker reads, segments and finishes each image, on one thread. The threads of a network idle at the end of each
    layer, so several images with one thread each take less time than one image after the other on all threads. The
    result for an image has the same bits as `segmenter(image)`. Memory is limited: at most `workers + ahead` items are
    started and not yet returned.

    Parameters
    ----------
    segmenter : Segmenter
    items : iterable
        Images (paths, PIL images or arrays), or anything that `read` converts to one. The caller's thread iterates over
        it, a few items in advance; its exceptions are raised after the items before them.
    read : callable, optional
        Converts an item to an image, in the workers, from several threads at once. Default: the item is the image.
    finish : callable, optional
        Called in the workers with an item and its Segmentation, for example to write it. Its return value is yielded as
        `made`, and the Segmentation is freed.
    threads : int, optional
        Default: the segmenter's threads, or all cores.
    ahead : int
        Maximum number of finished items that wait for the caller.

    Yields
    ------
    Done
        One for each item. An exception for one image is in its `error` and does not stop the others.

    Raises
    ------
    InputError
        If `threads` or `ahead` is invalid.

    Notes
    -----
    When closed or interrupted by Ctrl-C, the generator starts no further item, drops items between two steps and waits
    for the current step of each worker. No file is half-written when it returns.

    Examples
    --------
    >>> for done in segmented(segmenter, images):  # doctest: +SKIP
    ...     print(done.item, done.error or done.made.shares())
    """
    threads = check_threads(segmenter.threads if threads is None else threads)
    if ahead < 0:
        raise InputError(f"ahead={ahead}: expected at least 0 items")
    return _segmented(_Workers(segmenter, read or _itself, finish, threads), items, ahead)


def worker_count(threads: int | None = None) -> int:
    """Return the number of images that `segmented` processes at the same time."""
    threads = check_threads(threads)
    # One more than the computing threads, so that one can wait for the disk.
    return min(threads, MOST_WORKERS) + (threads > 1)


def _itself(item: Any) -> Any:
    return item


class _StoppedError(BaseException):
    """The remaining items are not needed."""


class _Workers:
    def __init__(
        self,
        segmenter: Segmenter,
        read: Callable[[Any], Any],
        finish: Callable[[Any, Segmentation], Any] | None,
        threads: int,
    ) -> None:
        self.segmenter, self.read, self.finish = segmenter, read, finish
        self.threads = threads
        self.images = min(threads, MOST_WORKERS)
        self.workers = worker_count(threads)
        self.permits = _FairSemaphore(self.workers)
        self.stop = threading.Event()

    def work(self, item: Any) -> Done[Any, Any]:
        started = time.perf_counter()
        try:
            made, error = self._made(item), None
        except Exception as caught:
            # The traceback's frames would keep the image in memory.
            made, error = None, caught.with_traceback(None)
        return Done(item, made, error, time.perf_counter() - started)

    def _made(self, item: Any) -> Any:
        self._check_stopped()
        given = self.read(item)
        image = read_image(given)
        source = Path(given) if isinstance(given, (str, os.PathLike)) else None
        whole = _pixels(image) > LARGE
        with self.permits.acquire(self.workers if whole else 1):
            self._check_stopped()
            threads = self.threads if whole else max(1, self.threads // self.images)
            result = self.segmenter.segment(image, source=source, threads=threads, check=self._check_stopped)
            self._check_stopped()
            return result if self.finish is None else self.finish(item, result)

    def _check_stopped(self) -> None:
        if self.stop.is_set():
            raise _StoppedError


def _pixels(image: NDArray[np.uint8]) -> int:
    return image.shape[0] * image.shape[1]


def _segmented(workers: _Workers, items: Iterable[Item], ahead: int) -> Generator[Done[Item, Any], None, None]:
    source = iter(items)
    pending: deque[Future[Done[Any, Any]]] = deque()
    pool = ThreadPoolExecutor(workers.workers, thread_name_prefix="atrous-image")
    failure: Exception | None = None
    exhausted = False
    try:
        while pending or not exhausted:
            while not exhausted and len(pending) < workers.workers + ahead:
                try:
                    pending.append(pool.submit(workers.work, next(source)))
                except StopIteration:
                    exhausted = True
                except Exception as error:
                    failure, exhausted = error, True
            if pending:
                yield _result(pending.popleft())
        if failure is not None:
            raise failure
    finally:
        workers.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _result(future: "Future[Done[Any, Any]]") -> Done[Any, Any]:
    while not wait([future], timeout=_PATIENCE).done:
        pass
    return future.result()


class _FairSemaphore:
    """Counting semaphore that serves waiters first in, first out."""

    def __init__(self, permits: int) -> None:
        self.free = permits
        self.turn = threading.Lock()
        self.changed = threading.Condition()

    @contextmanager
    def acquire(self, permits: int) -> Iterator[None]:
        # Waiters are served in order, so that small images cannot block a large one forever.
        with self.turn, self.changed:
            self.changed.wait_for(lambda: self.free >= permits)
            self.free -= permits
        try:
            yield
        finally:
            with self.changed:
                self.free += permits
                self.changed.notify_all()

"""Many photos through one segmenter: decoding, network, CRF and writing overlap in threads."""

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

# Beyond so many, each takes its memory and adds next to nothing; the CRF of each has several threads then.
MOST_WORKERS = 8

# Of more pixels than this one photo is in work at a time, its CRF with all threads.
LARGE = 4_000_000

# Seconds after which a waiting caller looks whether Ctrl-C was pressed; where it does not wake by itself (Windows).
_PATIENCE = 0.5


@dataclass(frozen=True)
class Done(Generic[Item, Made]):
    """What became of one item.

    Attributes
    ----------
    item
        As it was given.
    made
        What `finish` returned, or the Segmentation; None after an error.
    error : Exception or None
        What reading, segmenting or finishing raised.
    seconds : float
        From the beginning of its reading to its end, waits for other photos' work included.
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
    """Segment many photos, several at a time; yield what became of each, in their order.

    Each photo is read, segmented and finished by one worker, on one thread: as one photo's network leaves its
    threads idle at the end of each layer, so many photos on a thread each take less time than one after the other
    on all. What is made of a photo is to the bit what `segmenter(photo)` makes of it. Memory is bounded: at most
    `workers + ahead` items are begun and not yet taken by the caller.

    Parameters
    ----------
    segmenter : Segmenter
    items : iterable
        Photos (paths, PIL images or arrays), or anything that `read` makes one of. It is iterated in the caller's
        thread, a few items ahead; what it raises comes after the items before.
    read : callable, optional
        From an item to a photo: called in the workers, from several threads at once. The item itself if left out.
    finish : callable, optional
        Called in the workers with an item and its Segmentation, to write it, say. What it returns is yielded as
        `made`, and the Segmentation is freed.
    threads : int, optional
        Default: the segmenter's own, or all cores.
    ahead : int
        Finished items that may wait for the caller.

    Yields
    ------
    Done
        One for each item. An exception of one photo is in its `error` and stops no other.

    Raises
    ------
    InputError
        If `threads` or `ahead` cannot be used.

    Notes
    -----
    Closed, or interrupted by Ctrl-C, it begins nothing more, lets go of what is between two steps and waits for the
    step that each worker is at: nothing is being written when it returns.

    Examples
    --------
    >>> for done in segmented(segmenter, photos):  # doctest: +SKIP
    ...     print(done.item, done.error or done.made.shares())
    """
    threads = check_threads(segmenter.threads if threads is None else threads)
    if ahead < 0:
        raise InputError(f"ahead={ahead}: expected at least 0 items")
    return _segmented(_Workers(segmenter, read or _itself, finish, threads), items, ahead)


def worker_count(threads: int | None = None) -> int:
    """Return how many photos `segmented` has in work at the same time."""
    threads = check_threads(threads)
    # One more than compute: while one waits for a disk, another goes on.
    return min(threads, MOST_WORKERS) + (threads > 1)


def _itself(item: Any) -> Any:
    return item


class _StoppedError(BaseException):
    """Nobody wants the rest."""


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
        self.photos = min(threads, MOST_WORKERS)
        self.workers = worker_count(threads)
        self.room = _Room(self.workers)
        self.stop = threading.Event()

    def work(self, item: Any) -> Done[Any, Any]:
        begun = time.perf_counter()
        try:
            made, error = self._made(item), None
        except Exception as caught:
            # With its frames it would hold the photo.
            made, error = None, caught.with_traceback(None)
        return Done(item, made, error, time.perf_counter() - begun)

    def _made(self, item: Any) -> Any:
        self._go_on()
        photo = self.read(item)
        image = read_image(photo)
        source = Path(photo) if isinstance(photo, (str, os.PathLike)) else None
        whole = _pixels(image) > LARGE
        with self.room.take(self.workers if whole else 1):
            self._go_on()
            threads = self.threads if whole else max(1, self.threads // self.photos)
            result = self.segmenter.segment(image, source=source, threads=threads, check=self._go_on)
            self._go_on()
            return result if self.finish is None else self.finish(item, result)

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise _StoppedError


def _pixels(image: NDArray[np.uint8]) -> int:
    return image.shape[0] * image.shape[1]


def _segmented(workers: _Workers, items: Iterable[Item], ahead: int) -> Generator[Done[Item, Any], None, None]:
    source = iter(items)
    pending: deque[Future[Done[Any, Any]]] = deque()
    pool = ThreadPoolExecutor(workers.workers, thread_name_prefix="atrous-photo")
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


class _Room:
    """So many places, handed out in the order in which they were asked for."""

    def __init__(self, places: int) -> None:
        self.free = places
        self.turn = threading.Lock()
        self.changed = threading.Condition()

    @contextmanager
    def take(self, places: int) -> Iterator[None]:
        # Who waits for many keeps the turn: small photos cannot keep a large one waiting for ever.
        with self.turn, self.changed:
            self.changed.wait_for(lambda: self.free >= places)
            self.free -= places
        try:
            yield
        finally:
            with self.changed:
                self.free += places
                self.changed.notify_all()

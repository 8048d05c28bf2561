"""What an actor does: one engine, and a part after the other."""

import json
import os
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .._parallel import prefetch
from .._provenance import own_version
from ..errors import ComputeError, InputError
from .config import Job, ModelFiles
from .decode import pictures
from .manifest import ATTEMPTS, SETTINGS, Planned, planned, receipt_name
from .storage import Storage
from .writers import Outcome, OutputError, Writer

AHEAD = 2  # photos decoded, and masks not yet written, while one is segmented
MOST_DEATHS = 3  # of workers, seen to be at one photo, after which it is given up


class PartSegmenter:
    """Segments parts: the class that Ray Data makes an actor of.

    Nothing is raised: what stops the run is told in the result, on one line.

    Parameters
    ----------
    job : Job
    model : ModelFiles
    """

    def __init__(self, job: Job, model: ModelFiles) -> None:
        self.job = job
        self.fatal = ""
        try:
            self._start(model)
        except InputError as error:
            self.fatal = str(error)

    def __call__(self, parts: pa.Table) -> pa.Table:
        """Segment parts.

        Parameters
        ----------
        parts : table
            Columns `part` and `photos`, the bytes of an Arrow stream of `records.PLAN`.

        Returns
        -------
        table
            For each part: its number, photos done and failed, the attempt's number, seconds, the process, and what
            has to stop the run.
        """
        return pa.Table.from_pylist([self._result(row["part"], row["photos"]) for row in parts.to_pylist()])

    def _start(self, model: ModelFiles) -> None:
        import fsspec

        from ..segmenter import Segmenter

        here = f"{os.uname().nodename}: " if hasattr(os, "uname") else ""
        if own_version() != self.job.version:
            raise InputError(f"{here}has atrous {own_version()}, the run {self.job.version}; install the same")
        for protocol, options in self.job.filesystems.items():
            fsspec.config.conf.setdefault(protocol, {}).update(options)
        self.output = Storage(self.job.output)
        if not self.output.is_file(SETTINGS):
            raise InputError(f"{here}does not see {self.job.output}; the output must be on storage that all share")
        if self.job.input and not Storage(self.job.input).is_seen():
            raise InputError(f"{here}does not see {self.job.input}; the input must be on storage that all share")
        settings = self.job.settings
        with model.unpacked() as path:
            self.segmenter = Segmenter(
                path,
                crf="model" if settings.crf else None,
                max_side=settings.max_side,
                threads=self.job.threads,
                device=self.job.device,
                engine=settings.engine,
            )
        self.writer = Writer(self.job, self.output, self.segmenter.engine.metadata.palette)

    def _result(self, part: int, photos: bytes) -> dict[str, Any]:
        begun = time.perf_counter()
        counts = {"done": 0, "failed": 0, "attempt": 0}
        fatal = self.fatal
        if not fatal:
            try:
                counts = self.segment(part, planned(pa.ipc.open_stream(photos).read_all()))
            except OutputError as error:
                fatal = str(error)
        return {"part": part, **counts, "seconds": time.perf_counter() - begun, "pid": os.getpid(), "fatal": fatal}

    def segment(self, part: int, photos: list[Planned]) -> dict[str, int]:
        """Segment a part, and write its masks and its receipt.

        Raises
        ------
        OutputError
            If the output takes nothing more.
        """
        if self.output.is_file(receipt_name(part)):  # Ray asks again for results that a lost machine held
            reasons = pq.read_table(pa.BufferReader(self.output.read(receipt_name(part))))["reason"].to_pylist()
            failed = sum(map(bool, reasons))
            return {"done": len(photos) - failed, "failed": failed, "attempt": 0}
        attempt = self._attempt(part)
        found = {}
        if attempt > 1:
            found = {i: outcome for i, photo in enumerate(photos) if (outcome := self.writer.found(photo))}
        rest = [i for i in range(len(photos)) if i not in found]
        # Where a worker has died, one photo is handled at a time, so that the one to blame is known.
        outcomes = self._swiftly(photos, rest) if attempt == 1 else self._carefully(part, photos, rest)
        by_place = found | dict(zip(rest, outcomes, strict=True))
        self.writer.close(part, [by_place[i] for i in range(len(photos))])
        if attempt > 1:
            self.output.remove(_deaths_name(part))
        failed = sum(bool(outcome.reason) for outcome in by_place.values())
        return {"done": len(photos) - failed, "failed": failed, "attempt": attempt}

    def _swiftly(self, photos: list[Planned], places: list[int]) -> Iterator[Outcome]:
        """Segment while the next photos are read and the last masks written."""
        waiting: deque[Future[Outcome] | Outcome] = deque()
        some = [photos[i] for i in places]
        with ThreadPoolExecutor(1) as pool, closing(self._pictures(some, AHEAD)) as images:
            for photo, image in zip(some, images, strict=True):
                labels = self._labels(image)
                waiting.append(
                    Outcome(photo, labels)
                    if isinstance(labels, str)
                    else pool.submit(self.writer.finish, photo, labels)
                )
                if len(waiting) > AHEAD:
                    yield _settled(waiting.popleft())
            yield from map(_settled, waiting)

    def _carefully(self, part: int, photos: list[Planned], places: list[int]) -> Iterator[Outcome]:
        """Segment one by one, writing down which photo it is before it is touched."""
        name = _deaths_name(part)
        deaths: dict[str, int] = json.loads(self.output.read(name)) if self.output.is_file(name) else {}
        for i in places:
            before = deaths.get(str(i), 0)
            if before >= MOST_DEATHS:
                yield Outcome(photos[i], f"{before} workers were killed while they segmented it; is it too large?")
                continue
            self._note(name, {**deaths, str(i): before + 1})
            (image,) = self._pictures([photos[i]], 0)
            labels = self._labels(image)
            yield Outcome(photos[i], labels) if isinstance(labels, str) else self.writer.finish(photos[i], labels)

    def _pictures(self, photos: list[Planned], depth: int) -> Generator[NDArray[np.uint8] | InputError, None, None]:
        images = pictures(self.job.input, photos, self.job.settings.column)
        return prefetch(images, depth) if depth else images

    def _labels(self, image: NDArray[np.uint8] | InputError) -> NDArray[np.uint8] | str:
        """Return a photo's labels, or why there are none."""
        try:
            if isinstance(image, InputError):
                raise image
            return self.segmenter(image).labels
        except (InputError, ComputeError) as error:
            return str(error)
        except MemoryError:
            return "not enough memory for a photo of this size; scale it down first"
        except Exception as error:  # one photo that the network's runtime cannot take is not the end of a million
            return f"cannot be segmented ({type(error).__name__}: {error})"

    def _attempt(self, part: int) -> int:
        name = f"{ATTEMPTS}/{part:06}"
        before = int(self.output.read(name)) if self.output.is_file(name) else 0
        self._note(name, before + 1)
        return before + 1

    def _note(self, name: str, value: object) -> None:
        try:
            self.output.write(name, json.dumps(value).encode())
        except Exception as error:
            raise self.writer.stop(error) from None


def _deaths_name(part: int) -> str:
    return f"{ATTEMPTS}/{part:06}.photos"


def _settled(outcome: Future[Outcome] | Outcome) -> Outcome:
    return outcome.result() if isinstance(outcome, Future) else outcome

"""Ray actor that segments shards with one engine."""

import json
import platform
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .._parallel import map_ordered, prefetch
from .._provenance import own_version
from ..errors import ComputeError, InputError, RunError
from ..segmenter import Segmenter
from .config import Job, ModelFiles
from .manifest import ATTEMPTS, SETTINGS, read_result, result_name, unpack
from .sources import Entry, images
from .storage import Storage
from .writers import Row, Writer, result_row

PREFETCHED = 2  # decoded images in the queue for the network
MOST_FAILURES = 3  # killed workers after which an image is recorded as failed


class ShardSegmenter:
    """Callable class for a Ray Data actor, which segments shards."""

    def __init__(self, job: Job, model: ModelFiles) -> None:
        self.job = job
        self.fatal = ""
        try:
            self._start(model)
        except InputError as error:
            self.fatal = str(error)

    def __call__(self, shards: pa.Table) -> pa.Table:
        """Segment shards (columns `shard` and `entries`, packed); return counts, or the error that ends the run."""
        return pa.Table.from_pylist([self._outcome(row["shard"], row["entries"]) for row in shards.to_pylist()])

    def _start(self, model: ModelFiles) -> None:
        job, settings = self.job, self.job.settings
        here, version = platform.node(), own_version()
        if version != job.version:
            raise InputError(f"{here}: expected atrous {job.version}, as on the driver, got {version}; install it")
        for protocol, options in job.filesystems.items():
            fsspec.config.conf.setdefault(protocol, {}).update(options)
        self.output = Storage(job.output)
        if not self.output.is_file(SETTINGS):
            raise InputError(f"{here}: cannot access {job.output}; the output must be on shared storage")
        if job.input and not ((place := Storage(job.input)).on_the_web or place.is_folder()):
            raise InputError(f"{here}: cannot access {job.input}; the input must be on shared storage")
        with model.unpacked() as path:
            self.segmenter = Segmenter(
                path,
                crf="model" if settings.crf else None,
                max_side=settings.max_side,
                threads=job.threads,
                device=job.device,
                engine=settings.engine,
            )
        self.writer = Writer(job, self.output, self.segmenter.engine.metadata.palette)

    def _outcome(self, shard: int, packed: bytes) -> dict[str, Any]:
        try:
            if self.fatal:
                raise RunError(self.fatal)
            return {"shard": shard, **self.segment(shard, unpack(packed)), "fatal": ""}
        except RunError as error:
            return {"shard": shard, "done": 0, "failed": 0, "attempt": 0, "fatal": str(error)}

    def segment(self, shard: int, entries: list[Entry]) -> dict[str, int]:
        """Segment a shard, write its masks and its result, and return counts of images and this attempt's number."""
        output, result, record = self.output, result_name(shard), f"{ATTEMPTS}/{shard:06}.json"
        attempt = 0
        if output.is_file(result):  # Ray recomputes results that were lost with a machine
            reasons = read_result(output.read(result))["reason"].to_pylist()
        else:
            # Keys of the images at which earlier workers were killed; "" if several images were in work.
            killed: list[str] = json.loads(output.read(record)) if output.is_file(record) else []
            attempt = len(killed) + 1

            def start(key: str) -> None:
                with output.writing():
                    output.write(record, json.dumps([*killed, key]).encode())

            start("")
            # After a worker was killed, images are segmented one at a time to find the one that caused it.
            rows = [self._one(e, killed.count(e.key), start) for e in entries] if killed else self._all(entries)
            self.writer.close(shard, rows)
            output.remove(record)
            reasons = [row["reason"] for row in rows]
        failed = sum(map(bool, reasons))
        return {"done": len(entries) - failed, "failed": failed, "attempt": attempt}

    def _all(self, entries: list[Entry]) -> list[Row]:
        """Segment while one thread decodes the next images and others write finished masks."""
        with closing(prefetch(self._images(entries), PREFETCHED)) as decoded:
            labels = ((entry, self._labels(image)) for entry, image in zip(entries, decoded, strict=True))
            return list(map_ordered(self._row, labels, 2))

    def _one(self, entry: Entry, killed: int, start: Callable[[str], None]) -> Row:
        """Segment an image that has no mask yet, after recording it as the current one."""
        if row := self.writer.written(entry):
            return row
        if killed >= MOST_FAILURES:
            return result_row(entry, f"{killed} workers were killed while they segmented it; is it too large?")
        start(entry.key)
        (image,) = self._images([entry])
        return self._row((entry, self._labels(image)))

    def _images(self, entries: list[Entry]) -> Generator[NDArray[np.uint8] | InputError, None, None]:
        return images(self.job.input, entries, self.job.settings.column)

    def _row(self, segmented: tuple[Entry, NDArray[np.uint8] | str]) -> Row:
        entry, labels = segmented
        return result_row(entry, labels) if isinstance(labels, str) else self.writer.mask(entry, labels)

    def _labels(self, image: NDArray[np.uint8] | InputError) -> NDArray[np.uint8] | str:
        """Return an image's labels, or the reason for a failure."""
        try:
            if isinstance(image, InputError):
                raise image
            return self.segmenter(image).labels
        except (InputError, ComputeError) as error:
            return str(error)
        except MemoryError:
            return "not enough memory for an image of this size; scale it down first"
        except Exception as error:  # an image that the runtime rejects does not end the run
            return f"cannot be segmented ({type(error).__name__}: {error})"

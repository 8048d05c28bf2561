"""Driver of a run, from the list of images to the tables of results."""

import csv
import dataclasses
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow.compute as pc

from .._provenance import own_version
from ..errors import InputError, RunError
from ..segmenter import Segmenter
from .config import Job, ModelFiles, Settings
from .manifest import ATTEMPTS, Manifest, check_settings, pack
from .ray_cluster import Actors, connected, execute
from .sources import listing
from .storage import Storage
from .writers import parquet_bytes, shown, with_shares

SHARES, ERRORS = "shares.parquet", "errors.csv"


@dataclass(frozen=True)
class Summary:
    """Counts of a run.

    Attributes
    ----------
    done : int
        Images with a mask from this run.
    skipped : int
        Images with a mask from an earlier run.
    failed : int
        Images without a mask, from this run or an earlier one.
    retried : int
        Shards that were restarted because a worker was lost.
    seconds : float
        Time from the start of the first shard to the end of the last one.
    errors : str
        Path of the table of failures; empty if there are none.
    """

    done: int
    skipped: int
    failed: int
    retried: int
    seconds: float
    errors: str

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.done / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Progress:
    """Finished images, images to segment, failed images, and seconds since the start."""

    done: int
    total: int
    failed: int
    seconds: float


def run(
    given: str,
    out: str,
    settings: Settings,
    actors: Actors | None = None,
    *,
    address: str | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Segment all images of an input that have no mask in the output yet.

    Parameters
    ----------
    given : str
        Folder, list file, pattern, parquet file or tar, as a path or an fsspec URL.
    out : str
        Output folder, as a path or an fsspec URL. On a cluster, all machines must have access to input and output.
    settings : Settings
    actors : Actors, optional
    address : str, optional
        Address of a Ray cluster. Default: start one on this machine for the run.
    progress : callable
        Called after each shard.

    Raises
    ------
    InputError
        If the input has no images, the output cannot be written or was started with other settings or images, or the
        cluster cannot be reached.
    RunError
        If writing to the output fails during the run, or Ray gives up.
    """
    actors = actors or Actors()
    output = Storage(out)
    found = listing(given, settings, output)
    model = ModelFiles.read(settings.model)
    # Loads the model, so that its errors occur before anything else starts.
    classes = Segmenter(settings.model, crf=None, threads=1, device="cpu", engine=settings.engine).classes
    recorded = {
        "input": given if given == "-" else Storage(given).url,
        "kind": found.kind,
        "output": settings.output,
        "model": {"name": model.name, "sha256": model.sha256},
        **{name: getattr(settings, name) for name in ("crf", "max_side", "column", "key_column")},
        "classes": classes,
        "atrous": own_version(),
    }
    with output.writing(InputError):
        check_settings(output, recorded)
    manifest = Manifest.read(output, settings.output)
    todo, impossible = manifest.unassigned(found, settings)
    job = Job(
        input=found.root,
        output=output.url,
        settings=dataclasses.replace(settings, model=None),
        classes=classes,
        threads=actors.cpus,
        device="cuda" if actors.gpus else "cpu",
        filesystems={protocol: dict(values) for protocol, values in fsspec.config.conf.items()},
        version=own_version(),
    )

    def outcomes() -> list[tuple[str, str, str | None]]:
        """Return key, source and reason of each image of the input that has a mask, or will not have one."""
        known = {source: (entry.key, reason) for source, (entry, reason) in manifest.reasons().items()} | impossible
        return [(known[e.source][0], e.source, known[e.source][1]) for e in found.entries if e.source in known]

    redone = {entry.source for entry in todo}
    skipped = sum(reason == "" and source not in redone for _, source, reason in outcomes())
    retried, seconds = 0, 0.0
    if todo or manifest.pending():
        with connected(address, actors) as count:
            if todo:
                with output.writing(InputError):
                    manifest.assign(todo, settings, count)
            pending = manifest.pending()
            started = time.perf_counter()
            shards = ((shard, pack(entries)) for shard, entries in sorted(pending.items()))
            results = execute(job, model, shards, actors, count)
            retried = _follow(results, sum(map(len, pending.values())), progress)
            seconds = time.perf_counter() - started
        manifest.read_results()
    final = outcomes()
    failed = [(key, source, reason) for key, source, reason in final if reason]
    done = sum(reason == "" for _, _, reason in final) - skipped
    with output.writing():
        _write_tables(manifest, classes, failed)
    for name in output.names(ATTEMPTS):  # of shards whose worker was killed between the result and this file's end
        output.remove(f"{ATTEMPTS}/{name}")
    output.sweep()
    return Summary(done, skipped, len(failed), retried, seconds, f"{output.url}/{ERRORS}" if failed else "")


def _follow(results: Iterator[dict[str, Any]], total: int, progress: Callable[[Progress], None]) -> int:
    """Report the progress; return the number of restarted shards."""
    done = failed = retried = 0
    started = time.perf_counter()
    for result in results:
        if result["fatal"]:
            raise RunError(result["fatal"])
        done += result["done"]
        failed += result["failed"]
        retried += result["attempt"] > 1
        progress(Progress(done + failed, total, failed, time.perf_counter() - started))
    return retried


def _write_tables(manifest: Manifest, classes: tuple[str, ...], failed: list[tuple[str, str, str]]) -> None:
    """Write the tables of class shares and of failures."""
    table = manifest.latest()
    done = table.filter(pc.equal(table["reason"], ""))
    if len(done):
        manifest.output.write(SHARES, parquet_bytes(with_shares(done, classes).sort_by("key")))
    if not failed:
        manifest.output.remove(ERRORS)
        return
    sink = io.StringIO(newline="")
    csv.writer(sink).writerows([("key", "source", "reason"), *((k, shown(source), why) for k, source, why in failed)])
    manifest.output.write(ERRORS, sink.getvalue().encode())

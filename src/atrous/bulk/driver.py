"""A run from its input to its tables."""

import csv
import dataclasses
import io
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from .._provenance import own_version
from ..errors import InputError
from .config import Job, ModelFiles, Settings, table_bytes
from .manifest import (
    ATTEMPTS,
    add_plan,
    plan_table,
    read_receipts,
    read_settings,
    shown,
    write_settings,
)
from .naming import RECORDS
from .ray_cluster import Actors, connected, execute
from .sources import Listing, check_places, listing, one_line
from .state import State, check_agrees, failures, part_size
from .storage import Storage
from .tables import parquet_bytes
from .writers import share_columns

SHARES, ERRORS = "shares.parquet", "errors.csv"

# Connects and yields the number of actors; runs the parts of a job.
Connect: TypeAlias = Callable[[str | None, Actors], AbstractContextManager[int]]
Execute: TypeAlias = Callable[[Job, ModelFiles, Iterable[tuple[int, bytes]], Actors, int], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes
    ----------
    done : int
        Photos whose masks this run has added.
    skipped : int
        Photos that were done before.
    failed : int
        Photos of the input without a mask, from this run or an earlier one.
    again : int
        Parts that were begun more than once, as a worker was lost.
    seconds : float
        From the first part's start to the last one's end.
    errors : str
        The table of failures, if there is one.
    """

    done: int
    skipped: int
    failed: int
    again: int
    seconds: float
    errors: str

    @property
    def rate(self) -> float:
        """Photos a second."""
        return self.done / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Progress:
    """How far a run is: photos of all that it has to do."""

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
    connect: Connect = connected,
    execute: Execute = execute,
) -> Summary:
    """Segment all photos of an input that have no mask in an output yet.

    Parameters
    ----------
    given : str
        Folder, list, pattern, parquet file or tar; a path or any fsspec URL.
    out : str
        Folder; a path or any fsspec URL. On a cluster all machines have to see both.
    settings : Settings
    actors : Actors, optional
    address : str, optional
        Of a Ray cluster; one is started on this machine if left out.
    progress : callable
        Called as parts end.
    connect, execute : callable
        What runs the parts: Ray Data.

    Raises
    ------
    InputError
        If the input holds no photos, the output cannot be written or was begun with other settings or photos, or
        there is no such cluster.
    """
    actors = actors or Actors()
    output = Storage(out)
    check_places(given, output)
    _check_output(output)
    found = listing(given, settings, output)
    model = ModelFiles.read(settings.model)
    classes = _classes(model, settings.engine)
    _agree(output, _settings_values(found, given, settings, model, classes))
    state = State.read(output, settings.output)
    todo = state.new_photos(found, settings, output)
    job = Job(
        input=found.root,
        output=output.url,
        settings=dataclasses.replace(settings, model=None),
        classes=classes,
        threads=actors.cpus,
        device="cuda" if actors.gpus else "cpu",
        filesystems=_filesystems(),
        version=own_version(),
    )
    begun_again, seconds = 0, 0.0
    if state.missing_parts() or any(not entry.reason for entry, _ in todo):
        with connect(address, actors) as count:
            _plan(output, state, todo, part_size(settings, len(todo), count))
            before = _done(state, found)
            missing = state.missing_parts()
            begun = time.perf_counter()
            parts = ((part, table_bytes(plan_table(photos))) for part, photos in sorted(missing.items()))
            results = execute(job, model, parts, actors, count)
            begun_again = _follow(results, sum(map(len, missing.values())), progress)
            seconds = time.perf_counter() - begun
    else:
        _plan(output, state, todo, 1)
        before = _done(state, found)
    state.receipts = read_receipts(output)
    failed = _write_tables(output, state, found, classes)
    output.sweep()
    done = _done(state, found) - before
    return Summary(done, before, len(failed), begun_again, seconds, f"{output.url}/{ERRORS}" if failed else "")


def _done(state: State, found: Listing) -> int:
    known = state.reasons()
    return sum(1 for entry in found.entries if entry.source in known and known[entry.source][1] == "")


def _plan(output: Storage, state: State, todo: list[Any], size: int) -> None:
    dealt = state.deal(todo, size)
    if dealt:
        with _writing(output):
            add_plan(output, state.plans, dealt)


def _follow(results: Iterator[dict[str, Any]], total: int, progress: Callable[[Progress], None]) -> int:
    """Tell the progress; return how many parts were begun again."""
    done = failed = again = 0
    begun = time.perf_counter()
    for result in results:
        if result["fatal"]:
            raise InputError(result["fatal"])
        done += result["done"]
        failed += result["failed"]
        again += result["attempt"] > 1
        progress(Progress(done + failed, total, failed, time.perf_counter() - begun))
    return again


def _check_output(output: Storage) -> None:
    """Raise InputError if an output cannot be one; make its folder."""
    with _writing(output):
        if output.local:
            output.fs.makedirs(output.root, exist_ok=True)
        ours = read_settings(output) is not None
        if not ours and (output.is_file() or any(name != RECORDS and name[0] != "." for name in output.names(""))):
            raise InputError(f"{output.url}: holds files that atrous bulk did not write; choose another output folder")
        if not ours:
            output.write(f"{ATTEMPTS}/writable", b"")
            output.remove(f"{ATTEMPTS}/writable")


@contextmanager
def _writing(output: Storage) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise InputError(f"{output.url}: cannot be written ({one_line(error)})") from None


def _agree(output: Storage, values: dict[str, Any]) -> None:
    earlier = read_settings(output)
    if earlier is None:
        with _writing(output):
            write_settings(output, values)
    else:
        check_agrees(output, earlier, values)


def _settings_values(
    found: Listing, given: str, settings: Settings, model: ModelFiles, classes: tuple[str, ...]
) -> dict[str, Any]:
    return {
        "input": found.root if found.whole else _absolute(given),
        "kind": found.kind,
        "output": settings.output,
        "model": {"name": model.name, "sha256": model.sha256},
        "crf": settings.crf,
        "max_side": settings.max_side,
        "column": settings.column,
        "key_column": settings.key_column,
        "classes": list(classes),
        "atrous": own_version(),
    }


def _classes(model: ModelFiles, engine: str | None) -> tuple[str, ...]:
    """Return a model's classes; what cannot be loaded is found out here, before anything is started."""
    from ..segmenter import Segmenter

    with model.unpacked() as path:
        try:
            return Segmenter(path, crf=None, threads=1, device="cpu", engine=engine).classes
        except InputError as error:
            raise InputError(str(error).replace(str(path), model.name)) from None


def _filesystems() -> dict[str, dict[str, object]]:
    import fsspec

    return {protocol: dict(settings) for protocol, settings in fsspec.config.conf.items()}


def _absolute(given: str) -> str:
    return given if given == "-" or "://" in given else Storage(given).root


def _write_tables(
    output: Storage, state: State, found: Listing, classes: tuple[str, ...]
) -> list[tuple[str, str, str]]:
    """Write the tables of class shares and of failures; return the failures."""
    places = {source: photo for source, (photo, reason) in state.reasons().items() if reason == ""}
    rows_of: dict[int, int] = {}  # part -> its first row in all receipts
    tables = []
    total = 0
    for part, table in sorted(state.receipts.items()):
        rows_of[part] = total
        total += len(table)
        tables.append(table)
    indices, seen = [], dict.fromkeys(state.receipts, 0)
    for photo in state.photos:
        if photo.part in seen:
            if places.get(photo.entry.source) is photo:
                indices.append(rows_of[photo.part] + seen[photo.part])
            seen[photo.part] += 1
    done = pa.concat_tables(tables).take(indices) if indices else None
    try:
        if done is not None:
            shares = np.asarray(done["shares"].combine_chunks().flatten(), np.float32).reshape(len(done), -1)
            columns = done.select(["key", "source", "height", "width"])
            for name, column in share_columns(shares, classes).items():
                columns = columns.append_column(name, pa.array(column))
            output.write(SHARES, parquet_bytes(columns.sort_by("key")))
        failed = failures(state, found.entries)
        if failed:
            output.write(ERRORS, _csv(failed))
        else:
            output.remove(ERRORS)
    except Exception as error:
        raise InputError(f"{output.url}: its tables cannot be written ({one_line(error)}); run again") from None
    return failed


def _csv(failed: list[tuple[str, str, str]]) -> bytes:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerow(("key", "source", "reason"))
    writer.writerows((key, shown(source), reason) for key, source, reason in failed)
    return sink.getvalue().encode()

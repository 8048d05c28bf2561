"""Records of a run in the folder `_bulk` of the output: settings, plans and results.

A plan assigns images to numbered shards and never changes. Later runs add plans. The result of a shard is written after
its masks, so a shard with a result is complete.
"""

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from .._parallel import map_ordered
from .._settings_files import parse_json
from ..errors import InputError
from .config import Output, Settings
from .naming import RECORDS, assigned, folded, key_of
from .sources import READERS, Entry, Listing
from .storage import Storage, one_line

FORMAT = 2
SETTINGS, PLANS, RESULTS = f"{RECORDS}/settings.json", f"{RECORDS}/plans", f"{RECORDS}/results"
ATTEMPTS = f"{RECORDS}/attempts"
UNCHECKED = frozenset({"atrous", "classes"})  # recorded settings that may differ in later runs
LARGEST_SHARD = 256  # images, to limit the work repeated after an actor was killed
SHARDS_PER_ACTOR = 8  # for small inputs, so that actors finish at about the same time

T = TypeVar("T")

_ENTRY_TYPES = tuple(map(type, Entry("", "", "")))

# `reason` is the reason for a missing mask; "" if there is a mask.
RESULT = pa.schema(
    dict.fromkeys(("key", "source", "reason"), pa.string())
    | dict.fromkeys(("height", "width"), pa.int32())
    | {"shares": pa.list_(pa.float32())}
)


@dataclass
class Manifest:
    """Images assigned to shards, oldest first; number of plans; results by shard."""

    output: Storage
    entries: list[Entry]
    plans: int
    results: dict[int, pa.Table]

    @classmethod
    def read(cls, output: Storage, kind: Output) -> "Manifest":
        """Read the records; delete results of shards whose parquet or tar file is missing."""
        plans = [name for name in output.names(PLANS) if name.endswith(".gz")]
        entries = [entry for name in plans for entry in _read(output, f"{PLANS}/{name}", unpack)]
        manifest = cls(output, entries, len(plans), {})
        manifest.read_results()
        if kind != "png":
            there = set(output.names(""))
            for shard, table in list(manifest.results.items()):
                if shard_name(shard, kind) not in there and "" in table["reason"].to_pylist():
                    output.remove(result_name(shard))
                    del manifest.results[shard]
        return manifest

    def read_results(self) -> None:
        """Read the results of all shards."""
        names = [name for name in self.output.names(RESULTS) if name.endswith(".parquet")]
        tables = map_ordered(lambda name: _read(self.output, f"{RESULTS}/{name}", read_result), names, READERS)
        self.results = {int(name.split(".")[0]): table for name, table in zip(names, tables, strict=True)}

    def latest(self) -> pa.Table:
        """Return the latest result of each key."""
        table = pa.concat_tables([RESULT.empty_table(), *(table for _, table in sorted(self.results.items()))])
        last = {key: row for row, key in enumerate(table["key"].to_pylist())}
        return table.take(pa.array(sorted(last.values()), pa.int64()))

    def reasons(self) -> dict[str, tuple[Entry, str | None]]:
        """Return each source's entry and reason for a missing mask: "" if it has one, None if it is pending."""
        table = self.latest()
        reasons = dict(zip(table["key"].to_pylist(), table["reason"].to_pylist(), strict=True))
        return {e.source: (e, reasons.get(e.key) if e.shard in self.results else None) for e in self.entries}

    def pending(self) -> dict[int, list[Entry]]:
        """Return the shards without a result."""
        shards: dict[int, list[Entry]] = {}
        latest = {entry.source: entry.shard for entry in self.entries}
        for entry in self.entries:
            if entry.shard not in self.results and entry.shard == latest[entry.source]:
                shards.setdefault(entry.shard, []).append(entry)
        return shards

    def unassigned(self, listing: Listing, settings: Settings) -> tuple[list[Entry], dict[str, tuple[str, str]]]:
        """Return the images to assign, with keys, and key and reason of images that cannot be segmented, by source.

        Images to assign are new ones, failed ones that have changed or are retried, and ones whose PNG is missing.
        Raises InputError if an image has changed that has a mask or is assigned to a pending shard.
        """
        known, output = self.reasons(), self.output
        pngs = settings.output == "png"
        files = set(output.fs.find(output.root)) if known and pngs else set()
        todo: list[Entry] = []
        impossible: dict[str, tuple[str, str]] = {}
        for entry in (entry for entry in listing.entries if entry.source in known):
            earlier, reason = known[entry.source]
            changed = entry.stamp != earlier.stamp
            lost = reason == "" and pngs and output.path(f"{earlier.key}.png") not in files
            if entry.reason and (lost or reason != ""):
                impossible[entry.source] = earlier.key, entry.reason
            elif lost or (reason and (changed or settings.retry_errors)):
                todo.append(entry._replace(key=earlier.key))
            elif changed and (reason == "" or listing.kind != "images"):
                raise InputError(
                    f"{entry.source}: has changed since {output.url} was started: expected size and time, or ETag,"
                    f" {earlier.stamp}, got {entry.stamp}; choose another output folder"
                )
        new = [entry for entry in listing.entries if entry.source not in known]
        impossible |= {entry.source: (key_of(entry.name), entry.reason) for entry in new if entry.reason}
        new = [entry for entry in new if not entry.reason]
        taken = {folded(entry.key) for entry in self.entries}
        for entry, (key, free) in zip(new, assigned([entry.name for entry in new], taken), strict=True):
            if free:
                todo.append(entry._replace(key=key))
            else:
                impossible[entry.source] = key, f"another image has the name {key}, too; rename one of them"
        return todo, impossible

    def assign(self, entries: list[Entry], settings: Settings, actors: int) -> None:
        """Assign images to new shards and record them as a further plan."""
        size = settings.shard_size or max(1, min(LARGEST_SHARD, len(entries) // (actors * SHARDS_PER_ACTOR)))
        first = 1 + max((entry.shard for entry in self.entries), default=-1)
        added = [entry._replace(name="", shard=first + i // size) for i, entry in enumerate(entries)]
        try:
            self.output.create(f"{PLANS}/{self.plans:05}.gz", pack(added))
        except FileExistsError:
            raise InputError(f"{self.output.url}: another run is writing to this output; wait until it ends") from None
        self.entries += added


def pack(entries: Iterable[Entry]) -> bytes:
    """Return entries as compressed lines of JSON, which can store names that are not UTF-8."""
    sink = io.BytesIO()
    with gzip.open(sink, "wt", 1, encoding="ascii") as lines:
        lines.writelines(json.dumps(entry) + "\n" for entry in entries)
    return sink.getvalue()


def unpack(content: bytes) -> list[Entry]:
    """Return the entries from `pack`; ValueError and others if the records are damaged."""
    with gzip.open(io.BytesIO(content), "rt", encoding="ascii") as lines:
        entries = [Entry(*json.loads(line)) for line in lines]
    if any(tuple(map(type, entry)) != _ENTRY_TYPES for entry in entries):
        raise ValueError("damaged entries")
    return entries


def read_result(content: bytes) -> pa.Table:
    """Return the result of a shard; ValueError and others if the record is damaged."""
    table = pq.read_table(pa.BufferReader(content))
    if not table.schema.equals(RESULT):
        raise ValueError("unexpected columns")
    return table


def shard_name(shard: int, kind: Output) -> str:
    """Return the name of a shard's parquet file or tar below the output."""
    return f"shard-{shard:06}.{kind}"


def result_name(shard: int) -> str:
    """Return the name of a shard's result below the output."""
    return f"{RESULTS}/{shard:06}.parquet"


def check_settings(output: Storage, values: dict[str, Any]) -> None:
    """Record the settings that determine masks and keys; raise InputError if an earlier run's differ.

    Raises InputError, too, if the output contains files but no settings.
    """
    if output.local:
        output.fs.makedirs(output.root, exist_ok=True)
    if not output.is_file(SETTINGS):
        if output.is_file() or any(name != RECORDS and name[0] != "." for name in output.names("")):
            raise InputError(
                f"{output.url}: contains files that atrous bulk did not write; choose another output folder"
            )
        output.write(SETTINGS, json.dumps({"format": FORMAT, **values}, indent=1).encode())
        return
    path, expected = output.path(SETTINGS), f"a run's settings of format {FORMAT}"
    earlier = parse_json(output.read(SETTINGS), path, expected)
    found = earlier.get("format") if isinstance(earlier, dict) else "something else"
    if found != FORMAT:
        raise InputError(f"{path}: expected {expected}, got {found!s:.60}; choose another output folder")
    differs = [
        f"{name} {_shown(earlier.get(name))}, not {_shown(value)}"
        for name, value in values.items()
        if name not in UNCHECKED and _compared(earlier.get(name)) != _compared(value)
    ]
    if differs:
        raise InputError(f"{output.url}: was started with {'; '.join(differs)}; choose another output folder")


def _compared(value: Any) -> object:
    return value.get("sha256") if isinstance(value, dict) else value


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value.get('name')!s:.60} (sha256 {value.get('sha256')!s:.12})"
    return {"True": "on", "False": "off", "None": "none"}.get(str(value), f"{value!s:.200}")


def _read(output: Storage, name: str, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(output.read(name))
    except (pa.ArrowException, ValueError, TypeError, RecursionError, EOFError, OSError, zlib.error) as error:
        why = f"cannot be read ({one_line(error)}); choose another output folder"
        raise InputError(f"{output.path(name)}: {why}") from None

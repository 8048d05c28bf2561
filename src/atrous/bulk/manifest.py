"""What a run writes down about itself, below `_bulk` in the output: settings, plans, receipts.

A plan deals photos out to numbered parts and is never changed; later runs add plans. A part's receipt is written
after all of its masks: what has one is done.
"""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .._settings_files import parse_json
from ..errors import InputError
from .naming import RECORDS
from .sources import Entry
from .storage import Storage
from .tables import parquet_bytes

FORMAT = 1
SETTINGS = f"{RECORDS}/settings.json"
PLANS, RECEIPTS, ATTEMPTS = f"{RECORDS}/plans", f"{RECORDS}/parts", f"{RECORDS}/attempts"
READERS = 16  # receipts read at a time
IMPOSSIBLE = -1  # the part of photos that are known from the listing to fail

PLAN = pa.schema(
    [
        ("part", pa.int32()),
        ("key", pa.string()),
        # Names of files need not be UTF-8.
        ("source", pa.binary()),
        ("file", pa.binary()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("stamp", pa.string()),
        ("reason", pa.string()),
    ]
)
RECEIPT = pa.schema(
    [
        ("key", pa.string()),
        ("source", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("reason", pa.string()),  # empty: done
        ("shares", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True, slots=True)
class Planned:
    """A photo in a plan: its entry, key and part."""

    entry: Entry
    key: str
    part: int


def plan_table(photos: Iterable[Planned]) -> pa.Table:
    """Return photos in the form of `PLAN`."""
    rows = [
        {
            "part": p.part,
            "key": p.key,
            "source": as_bytes(p.entry.source),
            "file": as_bytes(p.entry.file),
            "offset": p.entry.offset,
            "size": p.entry.size,
            "stamp": p.entry.stamp,
            "reason": p.entry.reason,
        }
        for p in photos
    ]
    return pa.Table.from_pylist(rows, schema=PLAN)


def planned(table: pa.Table) -> list[Planned]:
    """Return the photos of a table in the form of `PLAN`."""
    columns = [table[name].to_pylist() for name in PLAN.names]
    return [
        Planned(Entry(as_text(source), key, as_text(file), offset, size, stamp, reason), key, part)
        for part, key, source, file, offset, size, stamp, reason in zip(*columns, strict=True)
    ]


def read_settings(output: Storage) -> dict[str, Any] | None:
    """Return what an earlier run wrote of its settings; None if there was none.

    Raises
    ------
    InputError
        If the records are damaged or of a later version.
    """
    if not output.is_file(SETTINGS):
        return None
    try:
        values: dict[str, Any] = parse_json(output.read(SETTINGS), SETTINGS, "settings of a run")
        found = values["format"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{output.path(SETTINGS)}: damaged; choose another output folder") from None
    if found != FORMAT:
        raise InputError(f"{output.path(SETTINGS)}: of format {found!r:.60}, expected {FORMAT}; update atrous")
    return values


def write_settings(output: Storage, values: dict[str, Any]) -> None:
    """Write down what later runs must agree with."""
    output.write(SETTINGS, json.dumps({"format": FORMAT, **values}, indent=1).encode())


def read_plans(output: Storage) -> tuple[list[Planned], int]:
    """Return the photos of all plans, oldest first, and the number of plans."""
    names = [name for name in output.names(PLANS) if name.endswith(".parquet")]
    photos = [photo for name in names for photo in planned(_read(output, f"{PLANS}/{name}"))]
    return photos, len(names)


def add_plan(output: Storage, number: int, photos: Iterable[Planned]) -> None:
    """Write a further plan.

    Raises
    ------
    InputError
        If another run has just written one of this number.
    """
    try:
        output.create(f"{PLANS}/{number:05}.parquet", parquet_bytes(plan_table(photos)))
    except FileExistsError:
        raise InputError(f"{output.url}: another run is at work in this output; wait until it has ended") from None


def receipt_name(part: int) -> str:
    """Return the name of a part's receipt below the output."""
    return f"{RECEIPTS}/{part:06}.parquet"


def read_receipts(output: Storage) -> dict[int, pa.Table]:
    """Return the receipts by part."""
    names = [name for name in output.names(RECEIPTS) if name.endswith(".parquet")]
    with ThreadPoolExecutor(READERS) as pool:
        tables = pool.map(lambda name: _read(output, f"{RECEIPTS}/{name}"), names)
        return {int(name.split(".")[0]): table for name, table in zip(names, tables, strict=True)}


def as_bytes(name: str) -> bytes:
    """Return a file's name as bytes, whatever it holds."""
    return name.encode("utf-8", "surrogateescape")


def as_text(name: bytes) -> str:
    """Return what `as_bytes` was given."""
    return name.decode("utf-8", "surrogateescape")


def shown(name: str) -> str:
    """Return a name as text that every table can hold."""
    return name.encode("utf-8", "backslashreplace").decode()


def _read(output: Storage, name: str) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(output.read(name)))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{output.path(name)}: cannot be read ({error}); choose another output folder") from None

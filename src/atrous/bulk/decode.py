"""Reader and decoder of the images of a shard."""

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import InputError
from ..image_io import read_rgb
from .sources import Entry, image_column
from .storage import Storage, located, one_line

# An image's file, its bytes, or the reason for a failure.
Encoded: TypeAlias = Path | bytes | InputError


def images(
    root: str, entries: list[Entry], column: str | None
) -> Generator[NDArray[np.uint8] | InputError, None, None]:
    """Yield each image as (H, W, 3) uint8, or the reason why it cannot be read."""
    for encoded in _encoded(root, entries, column):
        try:
            yield encoded if isinstance(encoded, InputError) else read_rgb(encoded, "")
        except InputError as error:
            yield error


def _encoded(root: str, entries: list[Entry], column: str | None) -> Iterator[Encoded]:
    for file, group in groupby(entries, key=lambda entry: entry.file):
        members = list(group)
        sent = 0
        try:
            storage, name = located(root, file)
            with closing(_of_file(storage, name, members, column)) as contents:
                for content in contents:
                    sent += 1
                    yield content
            why = "the file has fewer rows than when it was listed"
        except Exception as error:  # each file system has its own error types
            why = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({one_line(error)})"
        yield from (InputError(why) for _ in members[sent:])


def _of_file(storage: Storage, name: str, members: list[Entry], column: str | None) -> Generator[Encoded, None, None]:
    if members[0].offset < 0:
        yield Path(storage.path(name)) if storage.local else storage.read(name)
        return
    with storage.open(name) as stream:
        if members[0].size < 0:
            yield from _parquet_rows(stream, {member.offset for member in members}, column)
            return
        for member in members:
            try:
                stream.seek(member.offset)
                yield stream.read(member.size)
            except Exception as error:  # fails for one image: a bad block, or too little memory
                yield InputError(f"cannot be read ({one_line(error)})")


def _parquet_rows(stream: Any, rows: set[int], column: str | None) -> Iterator[Encoded]:
    """Yield the encoded images of some rows, in ascending order. Read only the row groups that contain them."""
    place = 0
    with pq.ParquetFile(stream) as parquet:
        column = image_column(parquet.schema_arrow, column)
        for group in range(parquet.num_row_groups):
            end = place + parquet.metadata.row_group(group).num_rows
            if rows.isdisjoint(range(place, end)):
                place = end
                continue
            for batch in parquet.iter_batches(batch_size=16, row_groups=[group], columns=[column]):
                for i in sorted(rows & set(range(place, place + len(batch)))):
                    value = batch.column(0)[i - place].as_py()
                    value = value["bytes"] if isinstance(value, dict) else value
                    yield InputError("no image in this row") if value is None else value
                place += len(batch)
                if place > max(rows):
                    return

"""A worker's photos: fetched and decoded one after the other, ahead of the network."""

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..image_io.decode import read_rgb
from .manifest import Planned
from .sources import one_line
from .storage import Storage, file_storage
from .tables import parquet_pictures

# What is known of a photo: where it lies, its bytes, or why there are none.
Encoded: TypeAlias = Path | bytes | InputError

T = TypeVar("T")


def pictures(
    root: str, photos: list[Planned], column: str | None
) -> Generator[NDArray[np.uint8] | InputError, None, None]:
    """Yield each photo as (H, W, 3) uint8, or why it cannot be read, on one line.

    Parameters
    ----------
    root : str
        As of the listing.
    photos : list of Planned
        Of a part.
    column : str, optional
        Of parquet files: which holds the pictures.
    """
    for encoded in _encoded(root, photos, column):
        try:
            yield encoded if isinstance(encoded, InputError) else _decoded(encoded)
        except InputError as error:
            yield error


def _encoded(root: str, photos: list[Planned], column: str | None) -> Iterator[Encoded]:
    for file, group in groupby(photos, key=lambda photo: photo.entry.file):
        members = list(group)
        sent = 0
        try:
            storage, name = file_storage(root, file)
            with closing(_of_file(storage, name, members, column)) as contents:
                for content in contents:
                    sent += 1
                    yield content
            why = "the file holds fewer rows than when it was listed"
        except Exception as error:  # file systems raise what they like
            why = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({one_line(error)})"
        yield from (InputError(why) for _ in members[sent:])


def _of_file(storage: Storage, name: str, members: list[Planned], column: str | None) -> Generator[Encoded, None, None]:
    first = members[0].entry
    if first.offset < 0:
        yield Path(storage.path(name)) if storage.local else storage.read(name)
    elif first.size < 0:
        rows = [photo.entry.offset for photo in members]
        for _, content in parquet_pictures(storage, name, rows, column):
            yield InputError("no picture in this row") if content is None else content
    else:
        with storage.open(name) as stream:
            for photo in members:
                member: bytes | InputError
                try:
                    stream.seek(photo.entry.offset)
                    member = stream.read(photo.entry.size)
                except Exception as error:  # of one photo: a bad block of the disk, or too large for the memory
                    member = InputError(f"cannot be read ({one_line(error)})")
                yield member


def _decoded(encoded: Path | bytes) -> NDArray[np.uint8]:
    return read_rgb(encoded, "")

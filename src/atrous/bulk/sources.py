"""Images of an input (a folder, a list file, a pattern, parquet files or WebDataset tars): their list, their pixels."""

import io
import os
import posixpath
import sys
import tarfile
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .._parallel import map_ordered
from ..errors import InputError
from ..image_io import IMAGE_SUFFIXES, read_rgb
from .config import Kind, Settings
from .naming import without_query
from .storage import Storage, one_line

SUFFIXES: dict[Kind, frozenset[str]] = {
    "images": IMAGE_SUFFIXES,
    "parquet": frozenset({".parquet", ".pq"}),
    "tars": frozenset({".tar"}),
}
LIST_SUFFIXES = frozenset({".txt", ".lst", ".list"})
READERS = 16  # files whose index is read in parallel
# For samples with several images: the first of these formats is the image, as another one may be its mask.
PREFERRED = (".jpg", ".jpeg", ".webp", ".png")

# An image's file, its bytes, or the reason for a failure.
Encoded: TypeAlias = Path | bytes | InputError


class Entry(NamedTuple):
    """An image of the input.

    `source` identifies it: the file, with the member of a tar or the row of a parquet file. Its key is derived from
    `name`. `file` is relative to the input's root; in a list it is a path or URL. `offset` and `size` are those of a
    tar member in bytes; for parquet, the row and -1; for an image file, -1 and -1. `stamp` changes with the file's
    content. `reason` states why it cannot be segmented, if the listing shows that. The manifest assigns `key` and
    `shard`.
    """

    source: str
    name: str
    file: str
    offset: int = -1
    size: int = -1
    stamp: str = ""
    reason: str = ""
    key: str = ""
    shard: int = -1


class Listing(NamedTuple):
    """Sorted images of an input, below a root ("" for a list)."""

    root: str
    kind: Kind
    entries: list[Entry]


def listing(given: str, settings: Settings, output: Storage) -> Listing:
    """Return the images of a folder, list file, pattern or file, without those in the output folder.

    Raises InputError if there are no images, several kinds of files, or the input lies inside the output.
    """
    try:
        root, files, listed = _files(given, output)
    except InputError:
        raise
    except Exception as error:  # each file system has its own error types
        place = f": {error.filename}" if isinstance(error, OSError) and error.filename not in (None, given) else ""
        raise InputError(f"{given}: cannot be read ({one_line(error)}{place})") from None
    kind = settings.kind or _kind(given, [name for name, _ in files], listed=listed)
    files = [(name, stamp) for name, stamp in files if listed or _suffix(name) in SUFFIXES[kind]]
    if not files:
        raise InputError(f"{given}: nothing to segment; looked for {', '.join(sorted(SUFFIXES[kind]))}")
    if kind == "images":
        entries = [
            Entry(f, f, f, stamp=stamp, reason="" if stamp or "://" in f else "no such file") for f, stamp in files
        ]
    else:
        index = _tar_entries if kind == "tars" else _parquet_entries
        found = map_ordered(lambda file: index(root, *file, settings), files, READERS)
        entries = [entry for some in found for entry in some]
        if all(entry.reason for entry in entries):
            why = f"{entries[0].source}: {entries[0].reason}" if entries else "no images in it"
            raise InputError(f"{given}: none of its {len(files)} {kind} files can be used ({why})")
    return Listing(root, kind, entries)


def images(
    root: str, entries: list[Entry], column: str | None
) -> Generator[NDArray[np.uint8] | InputError, None, None]:
    """Yield each image as (H, W, 3) uint8, or the reason why it cannot be read."""
    for file, group in groupby(entries, key=lambda entry: entry.file):
        members = list(group)
        read = 0
        try:
            storage, name = _located(root, file)
            with closing(_encoded(storage, name, members, column)) as contents:
                for content in contents:
                    read += 1
                    yield _decoded(content)
            why = "the file has fewer rows than when it was listed"
        except Exception as error:  # each file system has its own error types
            why = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({one_line(error)})"
        yield from (InputError(why) for _ in members[read:])


def _decoded(content: Encoded) -> NDArray[np.uint8] | InputError:
    try:
        return content if isinstance(content, InputError) else read_rgb(content, "")
    except InputError as error:
        return error
    except Exception as error:  # fails for one image, such as one that needs too much memory
        return InputError(f"cannot be read ({one_line(error)})")


def _encoded(storage: Storage, name: str, members: list[Entry], column: str | None) -> Generator[Encoded, None, None]:
    """Yield the encoded images of a file."""
    if members[0].offset < 0:
        yield Path(storage.path(name)) if storage.local else storage.read(name)
        return
    with storage.open(name) as stream:
        if members[0].size < 0:
            yield from _parquet_rows(stream, [member.offset for member in members], column)
            return
        for member in members:
            try:
                stream.seek(member.offset)
                yield stream.read(member.size)
            except Exception as error:  # fails for one image: a bad block, or too little memory
                yield InputError(f"cannot be read ({one_line(error)})")


def _files(given: str, output: Storage) -> tuple[str, list[tuple[str, str]], bool]:
    """Return the root, sorted (name, stamp), and whether the files were given as a list."""
    if given == "-" or _suffix(given) in LIST_SUFFIXES:
        return "", _listed(given), True
    place = Storage(given)
    if not (is_folder := place.is_folder()) and not place.is_file():
        if not any(c in given for c in "*?["):
            raise InputError(f"{given}: no such file or folder")
        head = place.root[: min(place.root.index(c) for c in "*?[" if c in place.root)].rpartition("/")[0]
        found = place.fs.glob(place.root, detail=True).items()
        stamps = ((path, place.stamp(path, info)) for path, info in found if info["type"] != "directory")
        files = sorted((path.removeprefix(head + "/"), stamp) for path, stamp in stamps)
        return Storage(place.url.removesuffix(place.root) + head).url, files, False
    one_system = place.protocols == output.protocols
    inner, outer = (Path(os.path.realpath(s.root) if s.local else s.root) for s in (place, output))
    if one_system and inner.is_relative_to(outer):
        raise InputError(f"{place.url}: is the output {output.url} or lies inside it; choose another output folder")
    if is_folder:
        results = f"{output.root}/" if one_system else None
        walked = (file for file in place.walk() if not (results and place.path(file[0]).startswith(results)))
        return place.url, sorted(walked), False
    # A query belongs to the file's address, so there is no folder to which the file is relative.
    folder, _, name = ("", "", place.url) if without_query(given) != given else place.url.rpartition("/")
    return folder, [(name, place.stamp(place.root))], False


def _listed(given: str) -> list[tuple[str, str]]:
    place = Storage(given)
    if given != "-" and not place.is_file():
        raise InputError(f"{given}: no such file; expected a text file with a path or URL in each line")
    text = sys.stdin.buffer.read() if given == "-" else place.read()
    # str.splitlines would also split at characters that are valid in names, such as U+2028.
    split = text.decode("utf-8-sig", "surrogateescape").split("\n")
    lines = dict.fromkeys(line for line in (line.removesuffix("\r") for line in split) if line.strip())
    if not lines:
        raise InputError(f"{given}: an empty list; expected a path or URL in each line")
    local = Storage("/")
    files: dict[str, str] = {}
    for line in lines:
        if "://" in line:
            files[line] = ""  # querying a store for a million files would take too long
            continue
        path = str(Path(line).absolute())
        try:
            files[path] = local.stamp(path)
        except (OSError, ValueError):
            files[path] = ""
    return sorted(files.items())


def _kind(given: str, names: list[str], *, listed: bool) -> Kind:
    suffixes = {_suffix(name) for name in names}
    kinds = [kind for kind, known in SUFFIXES.items() if suffixes & known]
    if len(kinds) > 1:
        raise InputError(f"{given}: holds {' and '.join(kinds)}; choose one, such as kind={kinds[0]!r}")
    if not kinds:
        if listed and any("://" in name for name in names):
            return "images"  # web addresses may have no suffix
        packed = any(name.lower().endswith((".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")) for name in names)
        remedy = "compressed tars have no random access: unpack them to .tar" if packed else "nothing to segment"
        raise InputError(f"{given}: {remedy}; looked for images, {', '.join(sorted(SUFFIXES['parquet']))} and .tar")
    return kinds[0]


def _suffix(name: str) -> str:
    return posixpath.splitext(without_query(name))[1].lower()


def _located(root: str, file: str) -> tuple[Storage, str]:
    """Return the folder of an input's file and the file's name in it. Without a root, the file is a path or URL."""
    return (Storage(root), file) if root else (Storage(file), "")


def _parquet_entries(root: str, file: str, stamp: str, settings: Settings) -> list[Entry]:
    """Return an entry for each row, or one entry with the reason why the file cannot be read."""
    base = file.rpartition(".")[0]
    try:
        storage, name = _located(root, file)
        with storage.open(name) as stream, pq.ParquetFile(stream) as parquet:
            _image_column(parquet.schema_arrow, settings.column)
            keys = [None] * parquet.metadata.num_rows
            if (column := settings.key_column) is not None:
                _check_column(parquet.schema_arrow, column)
                keys = parquet.read([column])[column].to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        return [Entry(file, base, file, stamp=stamp, reason=one_line(error))]
    digits = max(6, len(str(len(keys) - 1)))
    names = [f"{base}/{row:0{digits}}" if key is None else key for row, key in enumerate(keys)]
    names = [name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name) for name in names]
    return [Entry(f"{file}#{row}", name, file, row, stamp=stamp) for row, name in enumerate(names)]


def _parquet_rows(stream: Any, rows: list[int], column: str | None) -> Iterator[Encoded]:
    """Yield the encoded images of some rows, in ascending order. Read only the row groups that contain them."""
    with pq.ParquetFile(stream) as parquet:
        column = _image_column(parquet.schema_arrow, column)
        place = 0
        for group in range(parquet.num_row_groups):
            end = place + parquet.metadata.row_group(group).num_rows
            wanted = {row for row in rows if place <= row < end}
            for batch in parquet.iter_batches(16, [group], [column]) if wanted else ():
                for row in sorted(wanted & set(range(place, place + len(batch)))):
                    value = batch.column(0)[row - place].as_py()
                    value = value["bytes"] if isinstance(value, dict) else value
                    yield InputError("no image in this row") if value is None else value
                place += len(batch)
                if place > max(wanted):
                    break
            place = end


def _image_column(schema: Any, column: str | None) -> str:
    """Return the column of encoded images: binary, or a struct with a binary field `bytes`, as Hugging Face writes."""
    columns = [field.name for field in schema if _holds_images(field.type)]
    if column is not None:
        _check_column(schema, column)
        if column not in columns:
            raise ValueError(f"column {column!r} is {schema.field(column).type}; expected encoded images, binary")
        return column
    if len(columns) != 1:
        raise ValueError(
            f"expected one column of encoded images (binary), found {', '.join(columns) or 'none'}; set column"
        )
    return columns[0]


def _check_column(schema: Any, column: str) -> None:
    if column not in schema.names:
        raise ValueError(f"no column {column!r}; it has {', '.join(schema.names)}")


def _holds_images(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_images(field.type) for field in kind)
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _tar_entries(root: str, file: str, stamp: str, settings: Settings) -> list[Entry]:
    """Return an entry for each sample with an image, and one for the tar if it is damaged.

    A sample's name is that of its members up to the first dot of the last part. Its image is the member whose remaining
    name is the suffix of an image format, or the suffix from the settings.
    """
    base = file[: -len(".tar")] if file.lower().endswith(".tar") else file
    samples: dict[str, dict[str, tarfile.TarInfo]] = {}
    length, damage = 0, ""
    try:
        storage, name = _located(root, file)
        with storage.open(name) as stream:
            length = stream.seek(0, io.SEEK_END)
            stream.seek(0)
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for member in tar:
                    folder, slash, last = member.name.rpartition("/")
                    stem, dot, suffix = last.partition(".")
                    if member.isreg() and not member.issparse() and stem and dot:
                        samples.setdefault(folder + slash + stem, {}).setdefault(f".{suffix.lower()}", member)
                end = tar.offset
            # tarfile treats a damaged header as the archive's end, which must be a block of zeros or the file's end.
            stream.seek(end)
            damage = f"no header at byte {end}" if stream.read(tarfile.BLOCKSIZE).strip(b"\0") else ""
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        damage = one_line(error)
    entries = []
    chosen = None if settings.column is None else ["." + settings.column.lower().lstrip(".")]
    for sample, members in samples.items():
        suffixes = chosen or [suffix for suffix in (*PREFERRED, *members) if suffix in IMAGE_SUFFIXES]
        image = next((members[suffix] for suffix in suffixes if suffix in members), None)
        if image is not None:
            cut = "" if image.offset_data + image.size <= length else "the tar is cut short before the image's end"
            source, name = f"{file}/{image.name}", f"{base}/{sample}"
            entries.append(Entry(source, name, file, image.offset_data, image.size, stamp, cut))
    if damage:
        why = f"a damaged tar ({damage}); images after the damage are skipped"
        entries.append(Entry(file, base, file, stamp=stamp, reason=why))
    return entries

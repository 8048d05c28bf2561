"""Parquet: photos in its rows, and masks in the same form."""

import io
from collections.abc import Iterator
from typing import Any

from .config import Settings
from .storage import Storage, file_storage


def parquet_entries(root: str, file: str, stamp: str, settings: Settings) -> list[tuple[Any, ...]]:
    """Return the fields of an `Entry` for each row of a parquet file, or one that says why it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    base = file.rpartition(".")[0]
    try:
        storage, name = file_storage(root, file)
        with storage.open(name) as stream, pq.ParquetFile(stream) as parquet:
            picture_column(parquet.schema_arrow, settings.column)
            names = None
            if settings.key_column is not None:
                if settings.key_column not in parquet.schema_arrow.names:
                    raise ValueError(_no_column(settings.key_column, parquet.schema_arrow))
                names = parquet.read([settings.key_column])[settings.key_column].to_pylist()
            count = parquet.metadata.num_rows
    except (OSError, ValueError, pa.ArrowException) as error:
        return [(file, base, file, -1, -1, stamp, " ".join(str(error).split())[:300] or type(error).__name__)]
    digits = max(6, len(str(count - 1)))
    if names is None:
        return [(f"{file}#{row}", f"{base}/{row:0{digits}}", file, row, -1, stamp, "") for row in range(count)]
    return [
        (f"{file}#{row}", f"{base}/{row:0{digits}}" if name is None else _text(name), file, row, -1, stamp, "")
        for row, name in enumerate(names)
    ]


def picture_column(schema: Any, wanted: str | None) -> str:
    """Return the column that holds encoded pictures: binary, or a struct with binary `bytes` as Hugging Face's.

    Raises
    ------
    ValueError
        If there is none, several and none named, or the one named is not there or holds something else.
    """
    columns = [field.name for field in schema if _is_picture(field.type)]
    if wanted is not None:
        if wanted not in schema.names:
            raise ValueError(_no_column(wanted, schema))
        if wanted not in columns:
            raise ValueError(f"column {wanted!r} is {schema.field(wanted).type}; expected encoded pictures, binary")
        return wanted
    if len(columns) != 1:
        found = ", ".join(columns) or "none"
        raise ValueError(f"expected one column of encoded pictures (binary), found {found}; name it with --column")
    return columns[0]


def parquet_pictures(
    storage: Storage, name: str, rows: list[int], column: str | None
) -> Iterator[tuple[int, bytes | None]]:
    """Yield (row, encoded picture) of the given ascending rows of a file, reading it piece by piece."""
    import pyarrow.parquet as pq

    wanted, first = iter(rows), 0
    row = next(wanted, None)
    with storage.open(name) as stream, pq.ParquetFile(stream) as parquet:
        column = picture_column(parquet.schema_arrow, column)
        for group in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(group).num_rows
            if row is None:
                return
            if row < first + count:
                begun = first
                for batch in parquet.iter_batches(batch_size=16, row_groups=[group], columns=[column]):
                    while row is not None and row < begun + len(batch):
                        value = batch.column(0)[row - begun].as_py()
                        yield row, value["bytes"] if isinstance(value, dict) else value
                        row = next(wanted, None)
                    begun += len(batch)
                    if row is None or row >= first + count:
                        break
            first += count


def parquet_bytes(table: Any) -> bytes:
    """Return a table as the bytes of a parquet file."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _is_picture(kind: Any) -> bool:
    import pyarrow.types as types

    def binary(kind: Any) -> bool:
        kind = kind.value_type if types.is_dictionary(kind) else kind
        return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)

    if types.is_struct(kind):
        return any(field.name == "bytes" and binary(field.type) for field in kind)
    return binary(kind)


def _no_column(wanted: str, schema: Any) -> str:
    return f"no column {wanted!r}; it has {', '.join(schema.names)}"


def _text(name: object) -> str:
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)

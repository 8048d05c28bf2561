"""Writers of the masks and results of shards: one PNG per image, or one parquet file or tar per shard."""

import errno
import io
import json
import tarfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..errors import InputError
from ..labelmap import label_png, read_labels
from .config import Job
from .manifest import RESULT, result_name, shard_name
from .sources import Entry
from .storage import Storage, one_line

# Errors about one file name. All other errors concern the whole output.
NAME_ERRORS = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.EILSEQ, errno.EEXIST})

Row = dict[str, Any]  # columns of `RESULT`, and `mask` with the PNG's bytes for the shard's file


class Writer:
    """Writer of masks and results. Raises RunError if the output cannot be written."""

    def __init__(self, job: Job, output: Storage, palette: tuple[tuple[int, int, int], ...]) -> None:
        self.job, self.output, self.palette = job, output, palette

    def mask(self, entry: Entry, labels: NDArray[np.uint8]) -> Row:
        """Encode a mask, and write it if the output is one PNG per image."""
        row, mask = self._row(entry, labels), label_png(labels, self.palette)
        if self.job.settings.output != "png":
            return {**row, "mask": mask}
        with self.output.writing():
            try:
                self.output.write(f"{entry.key}.png", mask)
            except OSError as error:
                if error.errno not in NAME_ERRORS:
                    raise
                return result_row(entry, f"its mask {entry.key}.png cannot be written ({one_line(error)})")
        return row

    def written(self, entry: Entry) -> Row | None:
        """Return the row of an image whose PNG an earlier attempt wrote, or None."""
        name = f"{entry.key}.png"
        if self.job.settings.output != "png" or not self.output.is_file(name):
            return None
        try:
            return self._row(entry, read_labels(self.output.read(name), name))
        except (InputError, OSError):
            return None

    def close(self, shard: int, rows: list[Row]) -> None:
        """Write the shard's file, if the output has one, and then its result."""
        kind = self.job.settings.output
        done = [row for row in rows if not row["reason"]]
        with self.output.writing():
            if done and kind != "png":
                content = self._parquet(done) if kind == "parquet" else self._tar(done)
                self.output.write(shard_name(shard, kind), content)
            self.output.write(result_name(shard), parquet_bytes(pa.Table.from_pylist(rows, schema=RESULT)))

    def _row(self, entry: Entry, labels: NDArray[np.uint8]) -> Row:
        counts = np.bincount(labels.ravel(), minlength=len(self.job.classes))[: len(self.job.classes)]
        height, width = labels.shape
        shares = (counts / labels.size).astype(np.float32)
        return result_row(entry) | {"height": height, "width": width, "shares": shares.tolist()}

    def _parquet(self, done: list[Row]) -> bytes:
        table = with_shares(pa.Table.from_pylist(done, schema=RESULT), self.job.classes)
        masks = pa.array([row["mask"] for row in done], pa.binary())
        return parquet_bytes(table.add_column(table.column_names.index("width") + 1, "mask", masks))

    def _tar(self, done: list[Row]) -> bytes:
        """Return a WebDataset tar, identical for identical masks."""
        sink = io.BytesIO()
        columns = share_names(self.job.classes)
        with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for row in done:
                shares = {name: round(float(s), 6) for name, s in zip(columns, row["shares"], strict=True) if s}
                about = {name: row[name] for name in ("key", "source", "height", "width")} | {"shares": shares}
                # A dot in the last part of a key would end the sample's name.
                folder, slash, last = row["key"].rpartition("/")
                sample = folder + slash + last.replace("%", "%25").replace(".", "%2E")
                text = json.dumps(about, ensure_ascii=False).encode()
                for suffix, content in (("png", row["mask"]), ("json", text)):
                    member = tarfile.TarInfo(f"{sample}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        return sink.getvalue()


def result_row(entry: Entry, reason: str = "") -> Row:
    """Return the row of an image without a mask, with the reason."""
    empty: Row = {"height": 0, "width": 0, "shares": None}
    return {"key": entry.key, "source": shown(entry.source), "reason": shown(" ".join(reason.split())), **empty}


def with_shares(results: pa.Table, classes: tuple[str, ...]) -> pa.Table:
    """Return results that have masks, with each class' share of the pixels in a column."""
    table = results.select(["key", "source", "height", "width"])
    shares = np.asarray(results["shares"].combine_chunks().flatten(), np.float32).reshape(len(table), -1)
    for name, column in zip(share_names(classes), shares.T, strict=True):
        table = table.append_column(name, pa.array(column))
    return table


def share_names(classes: Sequence[str]) -> list[str]:
    """Return a column name per class: its name, with its id appended if the name is taken."""
    taken = ("key", "source", "height", "width", "mask")
    return [f"{name} ({i})" if name in (*taken, *classes[:i]) else name for i, name in enumerate(classes)]


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as the bytes of a parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def shown(name: str) -> str:
    """Return a name as valid Unicode text, with other bytes escaped."""
    return name.encode("utf-8", "backslashreplace").decode()

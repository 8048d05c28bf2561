"""What is asked of a run, and what travels to its workers."""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from ..errors import InputError

Output: TypeAlias = Literal["png", "parquet", "tar"]
Kind: TypeAlias = Literal["photos", "parquet", "tars"]
OUTPUTS: tuple[Output, ...] = ("png", "parquet", "tar")
KINDS: tuple[Kind, ...] = ("photos", "parquet", "tars")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How photos are segmented and what is written of them.

    Attributes
    ----------
    output : "png", "parquet" or "tar"
        A PNG for each photo; parquet files of masks; WebDataset tars of masks.
    model : path, optional
        Exported .onnx, or a folder that `Segmenter` takes; the bundled model if left out.
    engine : str, optional
        What runs an exported model; each worker's own choice if left out.
    crf : bool
        Whether to sharpen with the model's CRF.
    max_side : int
        Larger photos are scaled down to this for the network.
    kind : "photos", "parquet" or "tars", optional
        What to look for in the input; found out if left out.
    column, key_column : str, optional
        Of parquet inputs: the column of encoded pictures (the only binary one if left out), and the one that
        names them (file and row number if left out).
    part : int, optional
        Photos that are handed to an actor, and written to one parquet or tar file, at a time. If left out, so many
        that each actor gets about eight parts, 256 at most.
    retry_errors : bool
        Whether to try again the photos that failed in an earlier run; those that changed since are tried anyway.
    """

    output: Output = "png"
    model: str | os.PathLike[str] | None = None
    engine: str | None = None
    crf: bool = True
    max_side: int = 513
    kind: Kind | None = None
    column: str | None = None
    key_column: str | None = None
    part: int | None = None
    retry_errors: bool = False

    def __post_init__(self) -> None:
        for name, value, allowed in (("output", self.output, OUTPUTS), ("kind", self.kind, (None, *KINDS))):
            if value not in allowed:
                raise InputError(f"{name}={value!r}: expected one of {', '.join(filter(None, allowed))}")
        if self.max_side < 1:
            raise InputError(f"max_side={self.max_side}: expected at least 1 pixel")
        if self.part is not None and self.part < 1:
            raise InputError(f"part={self.part}: expected at least 1 photo")


@dataclass(frozen=True)
class ModelFiles:
    """A model's files as bytes: what every machine computes with, whatever is installed there.

    Attributes
    ----------
    name : str
        Of the file or folder.
    files : dict of str to bytes
        By path relative to the folder; a single entry, named like the model, if it is a file.
    folder : bool
    """

    name: str
    files: dict[str, bytes] = field(repr=False)
    folder: bool

    @classmethod
    def read(cls, model: str | os.PathLike[str] | None) -> "ModelFiles":
        """Read a model.

        Raises
        ------
        InputError
            If it is not there or cannot be read.
        """
        if model is None:
            from ..backends import bundled_model_path

            model = bundled_model_path()
        path = Path(model)
        try:
            if path.is_dir():
                # What a network is read from lies at the top; a training run's folders below are none of it.
                files = {file.name: file.read_bytes() for file in sorted(path.iterdir()) if file.is_file()}
                return cls(path.name, files, folder=True)
            return cls(path.name, {path.name: path.read_bytes()}, folder=False)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected a model") from None

    @property
    def sha256(self) -> str:
        """Of names and contents."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() if self.folder else b"")
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """Yield a path to the model in a temporary folder, which is removed afterward."""
        with tempfile.TemporaryDirectory(prefix="atrous-model-") as folder:
            for name, content in self.files.items():
                (Path(folder) / name).write_bytes(content)
            yield Path(folder) if self.folder else Path(folder) / self.name


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker has to know beside its photos.

    Attributes
    ----------
    input, output : str
        URLs or absolute paths.
    filesystems : dict
        fsspec's configuration, with the keys of remote stores.
    version : str
        Of this package, which the workers must have too.
    classes : tuple of str
    """

    input: str
    output: str
    settings: Settings
    classes: tuple[str, ...]
    threads: int
    device: str
    filesystems: dict[str, dict[str, object]]
    version: str


def table_bytes(table: object) -> bytes:
    """Return an Arrow table as the bytes of an IPC stream."""
    import pyarrow as pa

    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd")  # a plan's paths are alike: a tenth of the size
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:  # type: ignore[attr-defined]
        writer.write_table(table)
    return sink.getvalue()

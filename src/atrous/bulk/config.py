"""Settings of a run, and the data sent to its actors."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from .._defaults import MAX_SIDE
from ..backends import bundled_model_path, model_files
from ..errors import InputError, as_input_error

Output: TypeAlias = Literal["png", "parquet", "tar"]
Kind: TypeAlias = Literal["images", "parquet", "tars"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Input columns, segmentation settings and output format of a run.

    Attributes
    ----------
    output : "png", "parquet" or "tar"
        One PNG per image; parquet files of masks; WebDataset tars of masks.
    model : path, optional
        Exported .onnx file, or a folder that `Segmenter` accepts. Default: the bundled model.
    engine : str, optional
        Runtime of an exported model. Default: chosen by each actor.
    crf : bool
        Whether to refine with the model's CRF.
    max_side : int
        Longest side for the network, in pixels. Larger images are scaled down.
    kind : "images", "parquet" or "tars", optional
        Files to look for in the input. Default: detected; the input must contain only one kind.
    column, key_column : str, optional
        Columns of a parquet file: encoded images (default: the only binary column) and keys (default: file and row).
        Of tars, `column` is the suffix of the images.
    shard_size : int, optional
        Images per shard, one actor's unit of work and one parquet or tar file. Default: about eight shards per actor,
        of at most 256 images.
    retry_errors : bool
        Whether to retry images that failed in an earlier run. Images that have changed since are always retried.
    """

    output: Output = "png"
    model: str | os.PathLike[str] | None = None
    engine: str | None = None
    crf: bool = True
    max_side: int = MAX_SIDE
    kind: Kind | None = None
    column: str | None = None
    key_column: str | None = None
    shard_size: int | None = None
    retry_errors: bool = False

    def __post_init__(self) -> None:
        for name, value, allowed in (("output", self.output, Output), ("kind", self.kind or "images", Kind)):
            if value not in get_args(allowed):
                raise InputError(f"{name}={value!r}: expected one of {', '.join(get_args(allowed))}")
        for name, number, unit in (("max_side", self.max_side, "pixel"), ("shard_size", self.shard_size, "image")):
            if number is not None and number < 1:
                raise InputError(f"{name}={number}: expected at least 1 {unit}")


@dataclass(frozen=True)
class ModelFiles:
    """Contents of a model's files by name: those of a folder, or one file."""

    name: str
    files: dict[str, bytes] = field(repr=False)
    folder: bool

    @classmethod
    def read(cls, model: str | os.PathLike[str] | None) -> "ModelFiles":
        """Read a model; raise InputError if it cannot be read."""
        path = Path(bundled_model_path() if model is None else model)
        with as_input_error(path, "read", "; expected a model"):
            return cls(path.name, {file.name: file.read_bytes() for file in model_files(path)}, path.is_dir())

    @property
    def sha256(self) -> str:
        """SHA-256 digest of the contents."""
        digests = (hashlib.sha256(content).digest() for _, content in sorted(self.files.items()))
        return hashlib.sha256(b"".join(digests)).hexdigest()

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """Yield a path to the model in a temporary folder."""
        with tempfile.TemporaryDirectory(prefix="atrous-model-") as folder:
            for name, content in self.files.items():
                (Path(folder) / name).write_bytes(content)
            yield Path(folder) if self.folder else Path(folder) / self.name


@dataclass(frozen=True, kw_only=True)
class Job:
    """Data that an actor needs besides its shards."""

    input: str  # URL or absolute path, "" for a list
    output: str
    settings: Settings
    classes: tuple[str, ...]
    threads: int
    device: str
    filesystems: dict[str, dict[str, object]]  # fsspec's configuration
    version: str  # of this package, required of all actors

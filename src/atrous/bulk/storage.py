"""Folders and files at local paths and fsspec URLs, with atomic writes."""

import errno
import io
import os
import re
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem, make_path_posix

from .._io import remove_stale, sync_folder, written
from ..data import files_below
from ..errors import InputError, RunError
from .naming import RECORDS

# Stores with atomic uploads. In others, a file is uploaded under a temporary name first.
ATOMIC_UPLOADS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "r2", "memory"})
TEMPORARY = f"{RECORDS}/tmp"
# Fields of fsspec that change with a file's content, the most reliable first.
CHANGES = (
    *("ETag", "etag", "md5Hash", "crc32c", "Content-MD5"),
    *("LastModified", "Last-Modified", "mtime", "modify", "last_commit", "created"),
)


class Storage:
    """A folder or a file at a path or URL: `url` in full, `root` without the protocol.

    Raises InputError if no file system supports the URL.
    """

    def __init__(self, url: str) -> None:
        try:
            if "://" in url:
                self.fs, root = fsspec.core.url_to_fs(url)
            else:  # in a path, fsspec would interpret "::" as a chained URL
                self.fs, root = fsspec.filesystem("file"), make_path_posix(url)
        except (ImportError, ValueError, TypeError) as error:
            raise InputError(f"{url}: no file system for it ({one_line(error)})") from None
        self.local = isinstance(self.fs, LocalFileSystem)
        self.root: str = Path(root).absolute().as_posix() if self.local else root.rstrip("/")
        self.url = self.root if self.local else url.rstrip("/")
        self.protocols = {self.fs.protocol} if isinstance(self.fs.protocol, str) else set(self.fs.protocol)
        self.on_the_web = bool({"http", "https"} & self.protocols)

    def path(self, name: str = "") -> str:
        """Return the file system's path of a name below the folder."""
        return f"{self.root}/{name}" if name else self.root

    def is_folder(self) -> bool:
        """Return whether the folder exists. In object stores it does if anything lies below it."""
        return bool(self.fs.isdir(self.root))

    def is_file(self, name: str = "") -> bool:
        """Return whether a file of this name exists."""
        return bool(self.fs.isfile(self.path(name)))

    def read(self, name: str = "") -> bytes:
        """Return a file's bytes."""
        return bytes(self.fs.cat_file(self.path(name)))

    def open(self, name: str = "") -> Any:
        """Open a file for reading with random access."""
        file = self.fs.open(self.path(name), "rb")
        if not self.on_the_web:
            return file
        try:
            file.seek(-1, io.SEEK_END)
            file.read(1)
        except ValueError:  # a server without range requests
            file.close()
            file = tempfile.TemporaryFile(prefix="atrous-file-")  # noqa: SIM115
            self.fs.get_file(self.path(name), file)
        file.seek(0)
        return file

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the files in a folder, or none if it does not exist."""
        self.fs.invalidate_cache()
        try:
            return sorted(str(path).rsplit("/", 1)[-1] for path in self.fs.ls(self.path(folder), detail=False))
        except FileNotFoundError:
            return []

    def walk(self) -> Iterator[tuple[str, str]]:
        """Yield name and stamp of each file below the folder, unordered, without hidden ones and linked folders."""

        def fail(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError) or error.filename == self.root:  # others were just deleted
                raise error

        if self.local:
            for file in files_below(Path(self.root), fail):
                if stamp := self.stamp(str(file)):
                    yield file.relative_to(self.root).as_posix(), stamp
            return
        self.fs.invalidate_cache()
        for path, info in self.fs.find(self.root, detail=True).items():
            name = path.removeprefix(self.root + "/")
            if name != path and not re.search(r"(^|/)\.", name):
                yield name, self.stamp(path, info)

    def stamp(self, path: str, info: dict[str, Any] | None = None) -> str:
        """Return a text that changes with a file's content; "" for a local file that does not exist.

        `info` is fsspec's description of the file, if it is known.
        """
        if not self.local:
            info = info or self.fs.info(path)
            change = next((info[field] for field in CHANGES if info.get(field)), "")
            return f"{info.get('size')}:{str(change).strip(chr(34))}"
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                return ""
            raise
        return f"{status.st_size}:{status.st_mtime_ns}" if stat.S_ISREG(status.st_mode) else ""

    @contextmanager
    def writing(self, kind: type[Exception] = RunError) -> Iterator[None]:
        """Turn errors of writing into one line: a RunError, or an InputError before the run has started."""
        remedy = "; all written files are complete; run again to resume" if kind is RunError else ""
        try:
            yield
        except (InputError, RunError):
            raise
        except Exception as error:  # each file system has its own error types
            raise kind(f"{self.url}: cannot be written ({one_line(error)}){remedy}") from None

    def write(self, name: str, content: bytes) -> None:
        """Write a file and replace an existing one. A local one survives a loss of power."""
        path = self.path(name)
        if self.local:
            with self._written(content) as temporary:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(path)
            sync_folder(Path(path).parent)
        elif ATOMIC_UPLOADS & self.protocols:
            self.fs.pipe_file(path, content)
        else:
            uploaded = self.path(f"{TEMPORARY}/{uuid.uuid4().hex}")
            for file in (uploaded, path):
                self.fs.makedirs(file.rsplit("/", 1)[0], exist_ok=True)
            self.fs.pipe_file(uploaded, content)
            if self.fs.exists(path):  # on some file systems a rename does not replace
                self.fs.rm_file(path)
            self.fs.mv(uploaded, path)

    def create(self, name: str, content: bytes) -> None:
        """Write a file; raise FileExistsError if it exists."""
        path = self.path(name)
        if self.fs.exists(path):
            raise FileExistsError(path)
        if not self.local:
            self.write(name, content)
            return
        with self._written(content) as temporary:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links
                temporary.replace(path)

    def remove(self, name: str) -> None:
        """Delete a file if it exists."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    def sweep(self) -> None:
        """Delete temporary files of killed actors; on a local disk, except those of a live run."""
        if self.local:
            remove_stale(self.path(TEMPORARY))
            return
        with suppress(FileNotFoundError):
            self.fs.rm(self.path(TEMPORARY), recursive=True)

    def _written(self, content: bytes) -> AbstractContextManager[Path]:
        # A separate folder on the same disk, where `sweep` finds the files of a killed actor.
        folder = Path(self.path(TEMPORARY))
        folder.mkdir(parents=True, exist_ok=True)
        return written(content, folder)


def one_line(error: BaseException) -> str:
    """Return an error's message on one line."""
    reason = getattr(error, "strerror", None) or str(error)
    return " ".join(str(reason).split())[:300] or type(error).__name__

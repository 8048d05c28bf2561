"""Folders that are local or behind any fsspec URL, in which a file is there whole or not at all."""

import errno
import io
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from .._io import remove_stale, written
from ..errors import InputError, MissingExtra
from .naming import RECORDS

# Stores in which one upload appears whole or not at all; others get a temporary name and a rename.
ATOMIC_UPLOADS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "r2", "memory"})
TEMPORARY = f"{RECORDS}/tmp"
# Fields of fsspec's that change with a file's content, the surest first.
CHANGES = (
    *("ETag", "etag", "md5Hash", "crc32c", "Content-MD5"),
    *("LastModified", "Last-Modified", "mtime", "modify", "last_commit", "created"),
)

# What may be wrong with one name; anything else concerns the whole output.
OF_A_NAME = frozenset({errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.EILSEQ, errno.EEXIST})


class Storage:
    """A folder, or a file, behind a path or URL.

    Parameters
    ----------
    url : str
        A path or anything that fsspec knows.

    Attributes
    ----------
    url : str
        Absolute if it is a local path.
    local : bool
    root : str
        Without its protocol.

    Raises
    ------
    InputError
        If no file system knows the URL.
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
            from fsspec.implementations.local import LocalFileSystem, make_path_posix
        except ImportError:
            raise MissingExtra(
                "fsspec is not installed: atrous bulk needs the extra, pip install 'atrous[bulk]'"
            ) from None
        try:
            if "://" in url:
                self.fs, self.root = fsspec.core.url_to_fs(url)
            else:  # a path, in which fsspec would take "::" for one address behind another
                self.fs, self.root = fsspec.filesystem("file"), make_path_posix(url)
        except ImportError as error:
            raise InputError(f"{url}: {_first_line(error)}") from None
        except (ValueError, TypeError) as error:
            raise InputError(f"{url}: no file system for it ({_first_line(error)})") from None
        self.local = isinstance(self.fs, LocalFileSystem)
        if self.local:
            self.root = str(Path(self.root).absolute())
        else:
            self.root = self.root.rstrip("/")
        self.url = self.root if self.local else url.rstrip("/")
        protocols = self.fs.protocol
        protocols = {protocols} if isinstance(protocols, str) else set(protocols)
        self._atomic = bool(ATOMIC_UPLOADS & protocols)
        self._on_the_web = bool({"http", "https"} & protocols)

    def path(self, name: str) -> str:
        """Return the file system's path of a name below the folder; of the folder itself for ""."""
        return f"{self.root}/{name}" if name else self.root

    def is_folder(self) -> bool:
        """Whether a folder is there; object stores have one where anything lies below it."""
        return Path(self.root).is_dir() if self.local else bool(self.fs.isdir(self.root))

    def is_seen(self) -> bool:
        """Whether a folder is there as far as can be told: web servers need not list theirs."""
        return self._on_the_web or self.is_folder()

    def is_file(self, name: str = "") -> bool:
        """Whether a file of this name is there."""
        return Path(self.path(name)).is_file() if self.local else bool(self.fs.isfile(self.path(name)))

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        return Path(self.path(name)).read_bytes() if self.local else self.fs.cat_file(self.path(name))

    def open(self, name: str) -> Any:
        """Open a file for reading, seekable."""
        if self.local:
            return open(self.path(name), "rb")  # noqa: PTH123
        file = self.fs.open(self.path(name), "rb")
        if not self._on_the_web:
            return file
        try:
            file.seek(-1, io.SEEK_END)
            file.read(1)
            file.seek(0)
            return file
        except ValueError:  # a server that gives a file only from its beginning to its end
            file.close()
            whole = tempfile.TemporaryFile(prefix="atrous-file-")  # noqa: SIM115
            self.fs.get_file(self.path(name), whole)
            whole.seek(0)
            return whole

    def walk(self, *, hidden: bool = False) -> Iterator[tuple[str, str]]:
        """Yield each file below the folder, unordered: its name, and a stamp that changes with its content.

        Hidden files and folders are left out unless they are wanted. Links to folders are not followed.
        """
        if self.local:
            yield from _local_files(self.root, hidden=hidden)
            return
        self.fs.invalidate_cache()  # of what this process has seen earlier
        prefix = self.root + "/"
        for path, info in self.fs.find(self.root, detail=True).items():
            name = path.removeprefix(prefix)
            if name != path and (hidden or not any(part.startswith(".") for part in name.split("/"))):
                yield name, stamp_of(info)

    def stamp(self, name: str = "") -> str:
        """Return a file's stamp: its size and what else the store tells of its content.

        Raises
        ------
        OSError
            If it is not there.
        """
        if self.local:
            status = Path(self.path(name)).stat()
            return f"{status.st_size}:{status.st_mtime_ns}"
        return stamp_of(self.fs.info(self.path(name)))

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole, replacing what was there.

        Raises
        ------
        OSError
        """
        path = self.path(name)
        if self.local:
            with self._written(content) as temporary:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(path)
        elif self._atomic:
            self.fs.pipe_file(path, content)
        else:
            temporary_path = self.path(f"{TEMPORARY}/{uuid.uuid4().hex}")
            self.fs.makedirs(temporary_path.rsplit("/", 1)[0], exist_ok=True)
            self.fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self.fs.pipe_file(temporary_path, content)
            if self.fs.exists(path):  # many a rename does not replace
                self.fs.rm_file(path)
            self.fs.mv(temporary_path, path)

    def create(self, name: str, content: bytes) -> None:
        """Write a file whole that must not be there yet.

        Raises
        ------
        FileExistsError
        OSError
        """
        path = self.path(name)
        if self.local:
            with self._written(content) as temporary:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(temporary, path)
                except FileExistsError:
                    raise
                except OSError:  # a file system without hard links
                    if Path(path).exists():
                        raise FileExistsError(errno.EEXIST, "exists", path) from None
                    temporary.replace(path)
            return
        if self.fs.exists(path):
            raise FileExistsError(errno.EEXIST, "exists", path)
        self.write(name, content)

    def sync(self, names: set[str]) -> None:
        """Make the entries of local files outlast a loss of power: their folders are written to disk."""
        if not self.local or os.name == "nt":
            return
        for folder in {os.path.dirname(self.path(name)) for name in names}:  # noqa: PTH120
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove(self, name: str) -> None:
        """Remove a file if it is there."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the files right in a folder of records; none if it is not there."""
        try:
            self.fs.invalidate_cache()
            return sorted(str(path).rsplit("/", 1)[-1] for path in self.fs.ls(self.path(folder), detail=False))
        except FileNotFoundError:
            return []

    def sweep(self) -> None:
        """Remove what killed workers left half written; on a local disk not what another run is writing."""
        if self.local:
            remove_stale(self.path(TEMPORARY))
            return
        with suppress(FileNotFoundError):
            self.fs.rm(self.path(TEMPORARY), recursive=True)

    def _written(self, content: bytes) -> AbstractContextManager[Path]:
        # In a folder of its own, on the same disk: what a killed worker leaves is found again.
        folder = Path(self.path(TEMPORARY))
        folder.mkdir(parents=True, exist_ok=True)
        return written(content, folder)


def file_storage(root: str, file: str) -> tuple[Storage, str]:
    """Return where a file of an input lies, and its name there; without a root the file is a path or URL."""
    return (Storage(root), file) if root else (Storage(file), "")


def stamp_of(info: dict[str, Any]) -> str:
    """Return the stamp of what fsspec says of a file."""
    for field in CHANGES:
        if info.get(field):
            return f"{info.get('size')}:{str(info[field]).strip(chr(34))}"
    return f"{info.get('size')}:"


def _local_files(root: str, *, hidden: bool) -> Iterator[tuple[str, str]]:
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            scanned = os.scandir(os.path.join(root, folder))  # noqa: PTH118
        except FileNotFoundError:
            if not folder:
                raise
            continue  # somebody else has just removed it
        with scanned as entries:
            for entry in entries:
                if entry.name.startswith(".") and not hidden:
                    continue
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(name)
                elif (stamp := _stamp_of_entry(entry)) is not None:
                    yield name, stamp


def _stamp_of_entry(entry: "os.DirEntry[str]") -> str | None:
    """Return the stamp of a file; None if it is none, or a link that leads nowhere."""
    try:
        if not entry.is_file():
            return None
        status = entry.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise
    return f"{status.st_size}:{status.st_mtime_ns}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

"""Atomic writes of single files and folders, and of several together."""

import errno
import os
import platform
import re
import secrets
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Names of temporary folders consist of a hash of the host name and a random number.
_HOST = f"{zlib.crc32(platform.node().encode('utf-8', 'surrogateescape')):08x}"
_NAME = re.compile(r"\.atrous-([0-9a-f]{8})-[0-9a-f]{12}\.tmp")

# Age in seconds at which a temporary folder is stale if its lock gives no information: a folder of another machine, or
# on a file system without locks.
_STALE = 86_400.0

# errno of a folder that cannot be synced: the operation is not supported, or the folder is not readable.
_UNSYNCABLE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES})

# Permissions of a file that a library created with `tempfile`.
_PRIVATE = 0o600

# Folders in which this process has already removed temporary files of killed runs.
_swept: set[Path] = set()


class Transaction:
    """Files and folders that `transaction` replaces together."""

    def __init__(self) -> None:
        self._temporaries: dict[Path, Path] = {}  # by output
        self._workspaces: dict[Path, _Workspace] = {}  # by folder

    def file(self, path: str | os.PathLike[str]) -> Path:
        """Return the path of an empty temporary file that will become `path`.

        It has the same name as `path` and lies in a temporary folder beside it.
        """
        path = Path(path)
        if _is_temporary(path):
            return path
        temporary = self._temporary(path)
        # os.open applies the umask to the permissions. Python can read the umask only by changing it for all threads.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        return temporary

    def folder(self, path: str | os.PathLike[str]) -> Path:
        """Return the path of an empty temporary folder that will become `path`."""
        path = Path(path)
        if _is_temporary(path):
            return path
        temporary = self._temporary(path)
        temporary.mkdir()
        return temporary

    def _temporary(self, path: Path) -> Path:
        if path.parent not in self._workspaces:
            try:
                self._workspaces[path.parent] = _Workspace(path.parent)
            except OSError as error:
                raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        self._temporaries[path] = self._workspaces[path.parent].path / path.name
        return self._temporaries[path]

    def commit(self) -> None:
        """Move all outputs to their paths; if that fails, restore the previous files."""
        for path, temporary in self._temporaries.items():
            _check_replaceable(path, is_folder=temporary.is_dir())
            _sync_tree(temporary, stat.S_IMODE(temporary.parent.stat().st_mode))
        moved: dict[Path, Path] = {}
        try:
            # A single file is replaced in one step. Otherwise, existing files and folders are moved away first.
            if len(self._temporaries) > 1 or any(temporary.is_dir() for temporary in self._temporaries.values()):
                for path, temporary in self._temporaries.items():
                    if os.path.lexists(path):
                        moved[path] = temporary.parent / ".old" / path.name
                        moved[path].parent.mkdir(exist_ok=True)
                        with suppress(FileNotFoundError):  # removed by another run meanwhile
                            path.rename(moved[path])
            for path, temporary in reversed(self._temporaries.items()):
                temporary.replace(path)
        finally:
            placed = [path for path, temporary in self._temporaries.items() if not os.path.lexists(temporary)]
            if len(placed) < len(self._temporaries):
                for path in placed:
                    _remove(path)
                for path, old in reversed(moved.items()):
                    if os.path.lexists(old):
                        old.rename(path)
        for folder in self._workspaces:
            sync_folder(folder)

    def close(self) -> None:
        """Remove the temporary folders and their contents."""
        for workspace in self._workspaces.values():
            workspace.close()

    def output(self, error: OSError) -> str | None:
        """Return the path of the output that could not be written; None if the error is about another file."""
        if error.filename is None and error.errno is not None and self._temporaries:  # a full disk
            return os.fspath(list(self._temporaries)[-1])
        for folder, workspace in self._workspaces.items():
            if str(error.filename).startswith(f"{workspace.path}{os.sep}"):
                return os.fspath(folder / Path(str(error.filename)).relative_to(workspace.path))
        return None


@contextmanager
def transaction() -> Iterator[Transaction]:
    """Yield a `Transaction`. If the block succeeds, move its files and folders to their paths, all of them or none.

    All are written under temporary names and synced to disk before the first rename. If the block or a rename fails,
    the files at their paths stay unchanged, and the temporary files are removed. An OSError names the output, not the
    temporary file.

    The first output is the record of the others: it is removed first and moved last. If the first output exists, the
    others are complete, even after a kill or a power failure between two renames.

    Examples
    --------
    >>> with transaction() as outputs:  # doctest: +SKIP
    ...     outputs.file("image.png").write_bytes(mask)
    ...     outputs.file("image.overlay.jpg").write_bytes(overlay)
    """
    outputs = Transaction()
    try:
        yield outputs
        outputs.commit()
    except OSError as error:
        path = outputs.output(error)
        if path is None:
            raise
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        outputs.close()


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path of the same name. If the block succeeds, sync the file and rename it to `path`.

    If the block raises an error, `path` stays unchanged, and the temporary file is removed. An OSError names `path`,
    not the temporary file. For libraries that write to a path; to write bytes, see `write_bytes`.

    Examples
    --------
    >>> with replacing("model.safetensors") as temporary:  # doctest: +SKIP
    ...     save_file(tensors, temporary)
    """
    with transaction() as outputs:
        yield outputs.file(path)


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty temporary folder. If the block succeeds, sync its files and rename the folder to `path`.

    An existing folder at `path` is replaced, and stays unchanged if the block raises an error.
    """
    with transaction() as outputs:
        yield outputs.folder(path)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file atomically.

    Raises
    ------
    OSError
        If the file cannot be written. An existing file at `path` stays unchanged.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file atomically. Surrogate escapes, as in file names that are not UTF-8, are written as bytes."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


@contextmanager
def written(content: bytes, folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a synced temporary file with this content below `folder`; remove it after the block unless it was moved."""
    workspace = _Workspace(Path(folder))
    try:
        temporary = workspace.path / "content"
        temporary.write_bytes(content)
        _sync_tree(temporary)
        yield temporary
    finally:
        workspace.close()


def remove_folder(path: Path) -> None:
    """Delete a folder atomically: an interruption leaves the whole folder or nothing at `path`."""
    workspace = _Workspace(path.parent)
    try:
        path.rename(workspace.path / path.name)
    finally:
        workspace.close()


def remove_stale(folder: str | os.PathLike[str], *, alone: bool = False) -> None:
    """Remove the temporary folders of killed runs from a folder.

    Each run locks its temporary folders, and the system releases the lock when the run ends. Locked folders are not
    removed. Folders of other machines and on file systems without locks (Windows, some network disks) are removed when
    they are a day old. The first write of a process into a folder calls this function.

    Parameters
    ----------
    folder : path
    alone : bool
        Whether no other run writes to the folder. If so, remove all temporary folders.
    """
    with suppress(OSError):
        for path in Path(folder).iterdir():
            if (match := _NAME.fullmatch(path.name)) is not None:
                with suppress(OSError):
                    _remove_if_stale(path, here=match[1] == _HOST, alone=alone)


class _Workspace:
    """Locked temporary folder for new outputs and for the old ones that they replace."""

    def __init__(self, folder: Path) -> None:
        if (known := folder.absolute()) not in _swept:
            _swept.add(known)
            remove_stale(folder)
        while True:
            self.path = folder / f".atrous-{_HOST}-{secrets.token_hex(6)}.tmp"
            try:
                self.path.mkdir()
                # Before it is locked, another run may treat it as stale.
                with suppress(FileNotFoundError, BlockingIOError):
                    self._lock = _lock(self.path)
                    if self._lock is None or _is_at(self._lock, self.path):
                        return
                    os.close(self._lock)
            except BaseException:  # Ctrl-C, too
                with suppress(OSError):
                    self.path.rmdir()
                raise

    def close(self) -> None:
        try:
            _remove(self.path)
        except KeyboardInterrupt:
            _remove(self.path)
            raise
        if self._lock is not None:
            os.close(self._lock)


def _is_temporary(path: Path) -> bool:
    """Return whether a file lies in a temporary folder, whose owner renames it."""
    return _NAME.fullmatch(path.parent.name) is not None


def _is_at(descriptor: int, path: Path) -> bool:
    return os.path.samestat(os.fstat(descriptor), path.stat())


def _remove_if_stale(path: Path, *, here: bool, alone: bool) -> None:
    lock = None if alone else _lock(path)  # BlockingIOError if a run holds it
    try:
        dead = here and lock is not None
        if alone or dead or time.time() - path.stat().st_mtime > _STALE:
            _remove(path)
    finally:
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Return a descriptor that holds the lock of a folder; None on file systems without locks.

    Raises
    ------
    BlockingIOError
        If another process holds it.
    OSError
        If the folder cannot be opened.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _check_replaceable(path: Path, *, is_folder: bool) -> None:
    """Raise OSError if the file at an output's path must not be replaced."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if is_folder and not stat.S_ISDIR(mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path))
    if not is_folder and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if path.exists() and not (path.is_file() or path.is_dir()):  # such as /dev/null
        raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder; ignore errors."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _sync_tree(path: Path, mode: int | None = None) -> None:
    """Sync a file, or a folder with its contents, to disk. Set the files' permissions from a folder's `mode`."""
    if path.is_dir():
        for each in path.iterdir():
            _sync_tree(each, mode)
        sync_folder(path)
        return
    with path.open("rb+") as file:
        if mode is not None and stat.S_IMODE(os.fstat(file.fileno()).st_mode) == _PRIVATE != mode & 0o666:
            path.chmod(mode & 0o666)
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk, if the file system can."""
    if os.name == "nt":  # folders cannot be opened
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _UNSYNCABLE:
            raise

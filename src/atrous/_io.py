"""Atomic writes of files and folders, one by one or several together."""

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

# Temporary folders are named after machine and chance.
_HOST = f"{zlib.crc32(platform.node().encode('utf-8', 'surrogateescape')):08x}"
_NAME = re.compile(r"\.atrous-([0-9a-f]{8})-[0-9a-f]{12}\.tmp")

# Age in seconds at which a temporary folder is stale if its lock tells nothing: one of another machine, or on a disk
# without locks.
_STALE = 86_400.0

# errno of a folder that cannot be synced: no such operation, or one that may be written but not read.
_UNSYNCABLE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EACCES})

# Permissions of a file that a library made by way of a temporary one of its own.
_PRIVATE = 0o600

# Folders from which this process has removed what killed runs left.
_swept: set[Path] = set()


class Transaction:
    """Files and folders that `transaction` puts in place together."""

    def __init__(self) -> None:
        self._temporaries: dict[Path, Path] = {}  # by output
        self._workspaces: dict[Path, _Workspace] = {}  # by folder

    def file(self, path: str | os.PathLike[str]) -> Path:
        """Return the path of an empty temporary file that will become `path`.

        It has the name of `path`, and lies in a temporary folder beside it.
        """
        path = Path(path)
        if _is_temporary(path):
            return path
        temporary = self._temporary(path)
        # Made as any other file is: who may read a mask is left to the umask, which cannot be asked for without
        # changing it for all threads.
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
        """Put all outputs in place; if that fails, put back what was there."""
        for path, temporary in self._temporaries.items():
            _check_replaceable(path, is_folder=temporary.is_dir())
            _sync_tree(temporary, stat.S_IMODE(temporary.parent.stat().st_mode))
        moved: dict[Path, Path] = {}
        try:
            # One file is replaced in one step. Of several, or of a folder, what is there goes first.
            if len(self._temporaries) > 1 or any(temporary.is_dir() for temporary in self._temporaries.values()):
                for path, temporary in self._temporaries.items():
                    if os.path.lexists(path):
                        moved[path] = temporary.parent / ".old" / path.name
                        moved[path].parent.mkdir(exist_ok=True)
                        with suppress(FileNotFoundError):  # another run was quicker
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
            _sync_folder(folder)

    def close(self) -> None:
        """Remove the temporary folders with what is left in them."""
        for workspace in self._workspaces.values():
            workspace.close()

    def output(self, error: OSError) -> str | None:
        """Return the path of the output that could not be written; None if the error is of another file."""
        if error.filename is None and error.errno is not None and self._temporaries:  # a disk that is full
            return os.fspath(list(self._temporaries)[-1])
        for folder, workspace in self._workspaces.items():
            if str(error.filename).startswith(f"{workspace.path}{os.sep}"):
                return os.fspath(folder / Path(str(error.filename)).relative_to(workspace.path))
        return None


@contextmanager
def transaction() -> Iterator[Transaction]:
    """Yield a `Transaction`; put its files and folders in place when the block succeeds, all of them or none.

    All are written under temporary names and synced to disk before the first is renamed. If the block or a rename
    fails, whatever was at their paths stays, and no temporary file is left behind. An OSError names the output, not
    the temporary file.

    The first output is the record of the others: it is removed first and put in place last. So even after a kill
    or a loss of power between two renames the others are complete wherever the first is there.

    Examples
    --------
    >>> with transaction() as outputs:  # doctest: +SKIP
    ...     outputs.file("photo.png").write_bytes(mask)
    ...     outputs.file("photo.overlay.jpg").write_bytes(overlay)
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
    """Yield a temporary path of the same name; sync and rename it to `path` when the block succeeds.

    Whatever was at `path` stays untouched if the block raises, and no temporary file is left behind. An OSError names
    `path`, not the temporary one. For libraries that write to a path; where the content is at hand, see `write_bytes`.

    Examples
    --------
    >>> with replacing("model.safetensors") as temporary:  # doctest: +SKIP
    ...     save_file(tensors, temporary)
    """
    with transaction() as outputs:
        yield outputs.file(path)


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder of the same name; rename it to `path`, its files synced, when the block succeeds.

    A folder at `path` is removed then, and stays untouched if the block raises.
    """
    with transaction() as outputs:
        yield outputs.folder(path)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written; what was at `path` stays.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file as `write_bytes` does; file names in it need not be UTF-8."""
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
    """Delete a folder so that, cut off half-way, nothing of it is left at `path`."""
    workspace = _Workspace(path.parent)
    try:
        path.rename(workspace.path / path.name)
    finally:
        workspace.close()


def remove_stale(folder: str | os.PathLike[str], *, alone: bool = False) -> None:
    """Remove the temporary folders that killed runs left in a folder.

    A run holds a lock on each, which the system lets go when the run dies. Those that are locked stay; so do, for a
    day, those of other machines and those on disks without locks (Windows, some network disks). Whoever writes into a
    folder for the first time calls this by itself.

    Parameters
    ----------
    folder : path
    alone : bool
        No other run writes to the folder: remove all temporary folders.
    """
    with suppress(OSError):
        for path in Path(folder).iterdir():
            if (match := _NAME.fullmatch(path.name)) is not None:
                with suppress(OSError):
                    _remove_if_stale(path, here=match[1] == _HOST, alone=alone)


class _Workspace:
    """A locked temporary folder: new outputs, and the old ones they replace."""

    def __init__(self, folder: Path) -> None:
        if (known := folder.absolute()) not in _swept:
            _swept.add(known)
            remove_stale(folder)
        while True:
            self.path = folder / f".atrous-{_HOST}-{secrets.token_hex(6)}.tmp"
            self.path.mkdir()
            # Another run may take it for a stale one before it is locked.
            with suppress(FileNotFoundError, BlockingIOError):
                self._lock = _lock(self.path)
                if self._lock is None or _is_at(self._lock, self.path):
                    return
                os.close(self._lock)

    def close(self) -> None:
        _remove(self.path)
        if self._lock is not None:
            os.close(self._lock)


def _is_temporary(path: Path) -> bool:
    """Whether a file lies in a temporary folder: whoever made that renames it."""
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
    """Return a descriptor that holds the lock of a folder; None where there are no locks.

    Raises
    ------
    BlockingIOError
        If another one holds it.
    OSError
        If it cannot be opened.
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
    """Raise OSError if what is at an output's path is not to be replaced by it."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if is_folder and not stat.S_ISDIR(mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path))
    if not is_folder and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if path.exists() and not (path.is_file() or path.is_dir()):  # /dev/null, say
        raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder if it is there and can be."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _sync_tree(path: Path, mode: int | None = None) -> None:
    """Write a file, or a folder with all in it, to disk; give the files the usual permissions of a folder's `mode`."""
    if path.is_dir():
        for each in path.iterdir():
            _sync_tree(each, mode)
        _sync_folder(path)
        return
    with path.open("rb+") as file:
        if mode is not None and stat.S_IMODE(os.fstat(file.fileno()).st_mode) == _PRIVATE != mode & 0o666:
            path.chmod(mode & 0o666)
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders
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

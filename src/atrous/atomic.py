"""Files and folders that are either there whole or not there at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; sync and rename it to `path` when the block succeeds.

    Whatever was at `path` stays untouched if the block raises, and no temporary file is left behind. An OSError names
    `path`, not the temporary one.

    Examples
    --------
    >>> with replacing("mask.png") as temporary:  # doctest: +SKIP
    ...     image.save(temporary, format="PNG")
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        # Made as any other file is: who may read a mask is left to the umask, which cannot be asked for without
        # changing it for all threads.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and str(error.filename) == str(temporary):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        raise
    _sync_folder(path.parent)


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield an empty folder beside `path`; rename it to `path`, its files synced, when the block succeeds.

    A folder at `path` is removed then, and stays untouched if the block raises.
    """
    path = Path(path)
    temporary, old = _beside(path), _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    if old.exists():
        shutil.rmtree(old)


def _beside(path: Path) -> Path:
    # Without the file's own name, which may be as long as the file system allows.
    return path.parent / f".{secrets.token_hex(8)}.tmp"


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

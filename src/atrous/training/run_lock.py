"""Lock of a run's folder."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError

LOCK = ".lock"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made if it does not exist, while the block runs.

    The system releases the lock of a process that dies. Where there are no file locks (Windows, some network disks)
    other runs are not kept out.

    Raises
    ------
    InputError
        If another run holds the lock, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Opened to append: who cannot have the lock must not wipe out the name of who has it.
        file = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be made ({error.strerror or error}); choose a folder that can be written"
        ) from None
    with file:
        if not _locked(file.fileno()):
            file.seek(0)
            owner = file.read().strip() or "a process"
            raise InputError(
                f"{folder}: another run writes into it ({owner}); wait until it ends, or choose another folder"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def _locked(descriptor: int) -> bool:
    """Take the lock, or return False if another process has it."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        # Not flock: its locks live on in the processes that cut crops when the one that trains is killed.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # no locks on this disk
        return True
    return True

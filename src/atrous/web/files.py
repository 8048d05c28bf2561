"""The one folder that a server writes to."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path

MAX_AGE = 3600.0  # seconds that uploads and results are kept


@contextmanager
def confined() -> Iterator[Path]:
    """Yield a folder to which all temporary files of this process go from now on, and delete it in the end.

    Gradio makes a folder where it is told to when it is imported, so it is imported inside.
    """
    before, temporary = dict(os.environ), tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="atrous-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        os.environ |= {
            "GRADIO_TEMP_DIR": str(folder),
            "GRADIO_EXAMPLES_CACHE": str(folder / "cached"),
            "TMPDIR": str(folder),
        }
        tempfile.tempdir = str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = temporary
            for key in os.environ.keys() - before.keys():
                del os.environ[key]
            os.environ.update(before)


def lay_out_examples(folder: Path) -> None:
    """Copy the example photos to where the page may serve them from."""
    source = resources.files("atrous") / "web" / "examples"
    (folder / "examples").mkdir(parents=True, exist_ok=True)
    for each in source.iterdir():
        with resources.as_file(each) as path:
            shutil.copyfile(path, folder / "examples" / path.name)


class Sweeper:
    """Deletes uploads and results that are old, and the oldest of them where they are too many.

    Parameters
    ----------
    folder : Path
        Its subfolder `examples` stays.
    max_bytes : int
        Of everything else.
    seconds : float
        Between two looks.
    """

    def __init__(self, folder: Path, max_bytes: int, seconds: float = 30.0) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="atrous-sweeper", daemon=True)

    def __enter__(self) -> "Sweeper":
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()

    def sweep(self) -> None:
        """Look once."""
        files = []
        for path in self.folder.rglob("*"):
            with suppress(OSError):  # somebody else was quicker
                if path.is_file() and path.parent != self.folder / "examples":
                    about = path.stat()
                    files.append((about.st_mtime, about.st_size, path))
        files.sort(reverse=True)  # the newest first
        oldest, total = time.time() - MAX_AGE, 0
        for changed, size, path in files:
            total += size
            if changed < oldest or total > self.max_bytes:
                with suppress(OSError):
                    path.unlink()
                    path.parent.rmdir()  # if it is empty now

    def _run(self) -> None:
        while not self._stop.wait(self.seconds):
            self.sweep()

"""What is kept of a run beside its checkpoints: tables of numbers, curves, TensorBoard's events."""

import csv
import errno
import importlib.util
import io
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from rich.console import Console

from .._io import write_bytes
from ..errors import InputError, MissingExtra
from .curves import CURVES, EVALUATIONS, LOG, draw_curves
from .progress import Progress, ProgressDisplay

TENSORBOARD = "tensorboard"

_LOG_COLUMNS = ("step", "loss", "rate", "crops_per_second", "memory_mib", "waiting")
_EVALUATION_COLUMNS = ("step", "mean_iou", "pixel_accuracy")


class Journal:
    """Shows a run and writes it down, in a run's folder.

    `log.csv` has a line for each step and `evaluations.csv` one for each evaluation, on disk when the method
    returns. `curves.png` is drawn from them at each evaluation and at the end if matplotlib is there, and
    TensorBoard's events are written to `tensorboard/` if TensorBoard is there.

    Parameters
    ----------
    folder : path
        The run's folder; made if it is not there.
    iterations : int
        Steps of the whole run.
    first_step : int
        Steps done before; what a run that was cut off wrote of later ones is dropped.
    console : rich.console.Console
        Where the run is shown.
    tensorboard : "auto" or bool
        "auto" writes events where TensorBoard is installed.

    Raises
    ------
    InputError
        If something cannot be written (the disk is full), or `log.csv` is no such table. From every method.
    MissingExtra
        If `tensorboard` is True and it is not installed.

    Examples
    --------
    ::

        with Journal(out, iterations=6000, first_step=0, console=console) as journal:
            journal.step(clock.tick(1, loss, rate))
            journal.evaluation(1, mean_iou=0.61, pixel_accuracy=0.9)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        iterations: int,
        first_step: int,
        console: Console,
        tensorboard: bool | Literal["auto"] = "auto",
    ) -> None:
        self.folder = Path(folder)
        self.iterations = iterations
        self.first_step = first_step
        self.console = console
        self.display = ProgressDisplay(console, iterations, first_step)
        self._tensorboard = tensorboard
        self._draws = importlib.util.find_spec("matplotlib") is not None

    def __enter__(self) -> "Journal":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        self._log = _Table(self.folder / LOG, _LOG_COLUMNS, self.first_step)
        self._evaluations = _Table(self.folder / EVALUATIONS, _EVALUATION_COLUMNS, self.first_step)
        self._events = self._open_events()
        self._thread_failed = threading.excepthook
        threading.excepthook = self._report_thread
        if not self._draws:
            self._note(f"note: {CURVES} needs matplotlib: pip install 'atrous[plot]'")
        self.display.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.display.__exit__()
        try:
            self._draw()
            if self._events is not None:
                self._add_to_events(self._events.close)
        except InputError:
            if kind is None:  # else what ended the run is the news
                raise
        finally:
            threading.excepthook = self._thread_failed
            self._log.close()
            self._evaluations.close()

    def _report_thread(self, failed: threading.ExceptHookArgs) -> None:
        # TensorBoard's thread raises its error once more in ours, at the next event or at the end.
        if not type(failed.thread).__module__.startswith("tensorboard."):
            self._thread_failed(failed)

    def step(self, progress: Progress) -> None:
        """Show a step and write it down."""
        mib = progress.memory_bytes / 2**20
        self._log.add(
            (
                progress.step,
                f"{progress.loss:.5f}",
                f"{progress.rate:.4e}",
                f"{progress.crops_per_second:.3f}",
                f"{mib:.0f}" if mib else "",
                f"{progress.waiting:.3f}",
            )
        )
        self._write_events(
            progress.step,
            {
                "train/loss": progress.loss,
                "train/rate": progress.rate,
                "speed/crops_per_second": progress.crops_per_second,
                "speed/waiting": progress.waiting,
                "speed/memory_mib": mib,
            },
        )
        self.display.step(progress)

    def evaluation(self, step: int, mean_iou: float, pixel_accuracy: float) -> None:
        """Show an evaluation after `step` steps, write it down, draw the curves.

        Parameters
        ----------
        step : int
        mean_iou, pixel_accuracy : float
            0 to 1.
        """
        self._evaluations.add((step, f"{mean_iou:.5f}", f"{pixel_accuracy:.5f}"))
        scores = {"evaluation/mean_iou": mean_iou, "evaluation/pixel_accuracy": pixel_accuracy}
        self._write_events(step, scores)
        self.display.evaluation(step, mean_iou, pixel_accuracy)
        self._draw()

    def _draw(self) -> None:
        if self._draws:
            draw_curves(self.folder)

    def _open_events(self) -> Any:
        """Return TensorBoard's writer, or None."""
        there = importlib.util.find_spec("tensorboard") is not None
        if self._tensorboard is True and not there:
            raise MissingExtra("TensorBoard's events need TensorBoard: pip install tensorboard")
        if self._tensorboard is False or not there:
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except Exception as error:  # its own dependencies break in many ways; a run needs none of them
            if self._tensorboard is True:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                raise MissingExtra(f"TensorBoard is installed but cannot be imported ({reason})") from None
            self._note("note: TensorBoard is installed but cannot be imported; its events are left out")
            return None
        try:
            # What an earlier run wrote of later steps is hidden.
            return SummaryWriter(str(self.folder / TENSORBOARD), purge_step=self.first_step + 1)
        except OSError as error:
            raise _unwritable(self.folder / TENSORBOARD, error) from None

    def _write_events(self, step: int, scalars: dict[str, float]) -> None:
        if self._events is not None:
            for name, value in scalars.items():
                self._add_to_events(self._events.add_scalar, name, value, step)

    def _add_to_events(self, method: Any, *arguments: object) -> None:
        try:
            method(*arguments)
        except OSError as error:
            raise _unwritable(self.folder / TENSORBOARD, error) from None

    def _note(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Table:
    """A CSV file with a line for each step, of which those of a cut-off run are dropped."""

    def __init__(self, path: Path, columns: Sequence[str], first_step: int) -> None:
        self.path = path
        self.columns, rows = _kept(path, columns, first_step)
        try:
            write_bytes(path, b"".join(map(_line, [self.columns, *rows])))
            # Nothing is held back in a buffer, so that nothing is left to fail when the file is closed.
            self._file: BinaryIO = path.open("ab", buffering=0)
        except OSError as error:
            raise _unwritable(path, error) from None

    def add(self, row: Sequence[object]) -> None:
        line = _line([*row, *[""] * (len(self.columns) - len(row))])
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def close(self) -> None:
        self._file.close()


def _kept(path: Path, columns: Sequence[str], first_step: int) -> tuple[list[str], list[list[str]]]:
    """Return the columns of a table that goes on, and its lines up to `first_step`.

    New columns are empty in the earlier lines; columns that are no longer written follow at the end.
    """
    try:
        text = path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return list(columns), []
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); move it away") from None
    # A line is there when its end is.
    try:
        lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))
    except csv.Error as error:
        raise InputError(f"{path}: expected a table that begins with 'step', got {error}; move it away") from None
    if not lines:
        return list(columns), []
    before = lines[0]
    if before[:1] != ["step"]:
        raise InputError(
            f"{path}: expected a table that begins with 'step', got {','.join(before)!r:.60}; move it away"
        )
    names = [*columns, *(name for name in before if name not in columns)]
    rows: dict[int, list[str]] = {}
    for line in lines[1:]:
        if len(line) == len(before) and line[0].isdecimal() and len(line[0]) < 20 and int(line[0]) <= first_step:
            values = dict(zip(before, line, strict=True))
            rows[int(line[0])] = [values.get(name, "") for name in names]
    return names, list(rows.values())


def _line(values: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def _unwritable(path: Path, error: OSError) -> InputError:
    """Say in one line that a run's file cannot be written, why, and what to do."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "make room" if full else "see to its folder"
    return InputError(
        f"{path}: cannot be written ({error.strerror or error}); {remedy} and give the same command again: it resumes"
    )

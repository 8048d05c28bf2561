"""Training logs: CSV tables, curves, TensorBoard events and the progress display."""

import csv
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from .._io import replacing, write_bytes
from .._printable import printable
from .._quiet_imports import import_matplotlib
from ..errors import InputError, as_input_error, installation

LOG, EVALUATIONS, CURVES, TENSORBOARD = "log.csv", "evaluations.csv", "curves.png", "tensorboard"
_COLUMNS = {
    LOG: ("step", "loss", "lr", "crops_per_second", "memory_mib", "waiting"),
    EVALUATIONS: ("step", "mean_iou", "pixel_accuracy"),
}

_WINDOW = 100  # steps over which speed, waiting time and the displayed loss are averaged
_PATIENCE = 10.0  # seconds for closing TensorBoard's writer after an error
_LINE_EVERY = 10  # steps between printed lines without a terminal

Batch = TypeVar("Batch")


class Logger:
    """Log of a run, in the run's folder and on the console.

    `log.csv` has a row for each step and `evaluations.csv` one for each evaluation, on disk when the method returns. If
    matplotlib is installed, `curves.png` is drawn at each evaluation and at the end; if TensorBoard is installed,
    events are written to `tensorboard/`. A terminal shows a progress bar; other outputs get a line every ten steps. The
    bar has no thread of its own, because data-loading processes may be forked at any time.

    Parameters
    ----------
    folder : path
        The run's folder, created if it does not exist.
    iterations, first_step, crops : int
        Steps of the whole run; completed steps; crops per step. Rows of later steps, from a killed run, are deleted.
    console : rich.console.Console
    device : str
        "cpu" or "cuda:N", whose memory use is logged.

    Raises
    ------
    InputError
        If a file cannot be written, or a table in the folder is not of such a run. Raised by all methods.
    """

    def __init__(
        self,
        folder: Path,
        iterations: int,
        first_step: int,
        *,
        crops: int,
        console: Console,
        device: str = "cpu",
    ) -> None:
        self.folder, self.iterations, self.first_step, self.crops = folder, iterations, first_step, crops
        self.console, self.device = console, device
        self._excluded, self._waited = 0.0, 0.0  # seconds
        self._ends: deque[tuple[int, float, float]] = deque(maxlen=_WINDOW + 1)  # step, seconds trained, seconds waited
        self._losses: deque[float] = deque(maxlen=_WINDOW)
        self._mean_iou: float | None = None
        columns = TextColumn("step {task.completed}/{task.total}"), BarColumn(None), TaskProgressColumn()
        self._bar = Progress(*columns, TextColumn("{task.fields[figures]}"), console=console, auto_refresh=False)
        self._refreshed = float("-inf")

    def __enter__(self) -> "Logger":
        with ExitStack() as stack:
            with _writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            self._log = _Table(self.folder / LOG, self.first_step)
            stack.callback(self._log.file.close)
            self._evaluations = _Table(self.folder / EVALUATIONS, self.first_step)
            stack.callback(self._evaluations.file.close)
            # Before the writer of events, because its thread may fail after an error here.
            self._excepthook, threading.excepthook = threading.excepthook, self._report_thread
            stack.callback(setattr, threading, "excepthook", self._excepthook)
            self._events = self._open_events()
            if find_spec("matplotlib") is None:
                self._print(f"note: {CURVES} needs matplotlib; {installation('plot')}")
            if self.console.is_interactive:
                text = "loading the first crops"
                self._bar.add_task("", total=self.iterations, completed=self.first_step, figures=text)
                stack.enter_context(self._bar)
            self._close = stack.pop_all().close
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close()
        with nullcontext() if kind is None else suppress(InputError):  # the run's own error takes precedence
            self._draw()
            if self._events is not None:
                with _writing(self.folder / TENSORBOARD):
                    if kind is None:
                        self._events.close()
                    else:
                        _close_in_time(self._events)

    def _report_thread(self, failed: threading.ExceptHookArgs) -> None:
        # TensorBoard's thread raises its error again in this thread, at the next event or at the end.
        if not type(failed.thread).__module__.startswith("tensorboard."):
            self._excepthook(failed)

    def loading(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches; log the time until each one arrives as waiting time, except for the first."""
        requested = perf_counter()
        for batch in batches:
            if self._ends:
                self._waited += perf_counter() - requested
            else:
                self._ends.append((self.first_step, self._trained(), 0.0))
            yield batch
            requested = perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the block's time, such as for saving or evaluating, from the speed."""
        start = perf_counter()
        yield
        self._excluded += perf_counter() - start

    def step(self, step: int, loss: float, lr: float) -> None:
        """Log a step; `step` counts from 1."""
        self._ends.append((step, self._trained(), self._waited))
        (first, begin, waited_before), (_, end, waited) = self._ends[0], self._ends[-1]
        seconds = max(end - begin, 1e-9)
        speed, waiting = self.crops * max(step - first, 1) / seconds, (waited - waited_before) / seconds
        mib = peak_memory(self.device) / 2**20
        self._log.add((step, f"{loss:.5f}", f"{lr:.4e}", f"{speed:.3f}", f"{mib:.0f}" if mib else "", f"{waiting:.3f}"))
        scalars = {"train/loss": loss, "train/lr": lr, "speed/crops_per_second": speed, "speed/waiting": waiting}
        self._add_events(step, scalars | {"speed/memory_mib": mib})
        self._losses.append(loss)
        figures = f"loss {np.mean(self._losses):.3f}  lr {lr:.2e}  {speed:.2f} crops/s"
        figures += f"  {mib / 1024:.1f} GiB" if mib else ""
        figures += f"  {timedelta(seconds=round(self.crops * (self.iterations - step) / speed))} left"
        figures += f"  mIoU {100 * self._mean_iou:.2f} %" if self._mean_iou is not None else ""
        figures += f"  {100 * waiting:.0f} % waiting for crops" if waiting >= 0.05 else ""
        last = step == self.iterations
        if not self.console.is_interactive:
            if last or step % _LINE_EVERY == 0:
                self._print(f"step {step:>6}/{self.iterations}  {figures}")
        elif last or perf_counter() - self._refreshed > 0.2:
            self._refreshed = perf_counter()
            self._bar.update(self._bar.task_ids[0], completed=step, figures=figures, refresh=True)

    def evaluation(self, step: int, mean_iou: float, pixel_accuracy: float) -> None:
        """Log an evaluation after `step` steps, scores from 0 to 1, and draw the curves."""
        self._evaluations.add((step, f"{mean_iou:.5f}", f"{pixel_accuracy:.5f}"))
        self._add_events(step, {"evaluation/mean_iou": mean_iou, "evaluation/pixel_accuracy": pixel_accuracy})
        self._mean_iou = mean_iou
        self._print(f"step {step}: mean IoU {100 * mean_iou:.2f} %, pixel accuracy {100 * pixel_accuracy:.2f} %")
        self._draw()

    def _trained(self) -> float:
        return perf_counter() - self._excluded

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _draw(self) -> None:
        if find_spec("matplotlib") is not None:
            draw_curves(self.folder)

    def _open_events(self) -> Any:
        """Return TensorBoard's writer, or None if it cannot be used."""
        if find_spec("tensorboard") is None:
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except Exception:  # TensorBoard is optional, and its dependencies fail in many ways
            self._print("note: TensorBoard is installed but cannot be imported; no events are written")
            return None
        with _writing(self.folder / TENSORBOARD):
            # Hides events of later steps from a killed run.
            return SummaryWriter(str(self.folder / TENSORBOARD), purge_step=self.first_step + 1)

    def _add_events(self, step: int, scalars: dict[str, float]) -> None:
        if self._events is not None:
            with _writing(self.folder / TENSORBOARD):
                for name, value in scalars.items():
                    self._events.add_scalar(name, value, step)


def _close_in_time(events: Any) -> None:
    """Close TensorBoard's writer after an error, or leave it open if that takes too long.

    PyTorch reports a killed loader process by an exception in a signal handler. If it interrupts TensorBoard while that
    holds the lock of its queue, closing the writer waits for ever.
    """

    def close() -> None:
        with suppress(Exception):  # the run's own error takes precedence
            events.close()

    closing = threading.Thread(target=close, daemon=True)
    closing.start()
    closing.join(_PATIENCE)


class _Table:
    """A CSV file to which rows are appended."""

    def __init__(self, path: Path, last_step: int) -> None:
        self.path, columns = path, _COLUMNS[path.name]
        with _writing(path):
            text = path.read_bytes().decode(errors="replace") if path.exists() else ""
            # The last row of a killed run may be incomplete. A complete row ends with a line end.
            header, *rows = [line.split(",") for line in text[: text.rfind("\n") + 1].splitlines()] or [list(columns)]
            if header != list(columns):
                got = f"{','.join(header)!r:.60}"
                raise InputError(f"{path}: expected the columns {','.join(columns)}, got {got}; move it away")
            complete = [row for row in rows if len(row) == len(columns) and _is_numeric(row)]
            remaining = {row[0]: row for row in complete if int(row[0]) <= last_step}
            write_bytes(path, b"".join(map(_row, [columns, *remaining.values()])))
            self.file = path.open("ab", buffering=0)

    def add(self, values: Sequence[object]) -> None:
        row = _row(values)
        with _writing(self.path):
            while row:  # an unbuffered write may be partial
                row = row[self.file.write(row) :]


def _is_numeric(row: Sequence[str]) -> bool:
    """Return whether a row is a step and finite numbers or empty cells."""
    try:
        return row[0].isdecimal() and len(row[0]) < 20 and all(np.isfinite(float(value or 0)) for value in row)
    except ValueError:
        return False


def _row(values: Sequence[object]) -> bytes:
    return f"{','.join(map(str, values))}\n".encode()


_writing = partial(as_input_error, remedy="; make room and run the same command again")


def peak_memory(device: str) -> int:
    """Return the peak memory of tensors on a GPU, or of this process in main memory, in bytes; 0 if unknown."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def draw_curves(folder: Path) -> Path:
    """Draw loss, mean IoU and learning rate of a run into its `curves.png`. Needs matplotlib."""
    import_matplotlib()
    from matplotlib.figure import Figure

    steps, losses, rates = _columns(folder / LOG, "step", "loss", "lr")
    scored, scores = _columns(folder / EVALUATIONS, "step", "mean_iou")
    figure = Figure(figsize=(7.2, 6), dpi=150, layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[5, 3, 2])
    top.plot(steps, losses, color="#1f5fa8", alpha=0.25, linewidth=0.8)
    window = max(len(losses) // 20, 1)
    if len(losses):  # a running mean over a twentieth of the run
        mean = np.convolve(losses, np.full(window, 1 / window), mode="valid")
        top.plot(steps[window // 2 :][: len(mean)], mean, color="#1f5fa8", linewidth=2)
    top.set_ylim(bottom=0)
    middle.plot(scored, 100 * scores, color="#1c7c54", marker="o", markersize=4)
    bottom.plot(steps, rates, color="#666666")
    bottom.set_xlabel("step")
    for axes, name in ((top, "loss"), (middle, "mean IoU, %"), (bottom, "learning rate")):
        axes.set_ylabel(name)
        axes.grid(color="0.9", linewidth=0.8)
    best = f", best mean IoU {100 * scores.max():.2f} %" if len(scores) else ""
    # matplotlib parses text between dollar signs as a formula.
    name = printable(folder.resolve().name).replace("$", r"\$")
    figure.suptitle(f"{name}: {int(steps[-1]) if len(steps) else 0} steps{best}")
    path = folder / CURVES
    with _writing(path), replacing(path) as temporary:
        figure.savefig(temporary)
    return path


def _columns(path: Path, *names: str) -> NDArray[np.float64]:
    with path.open(newline="", encoding="utf-8") as file:
        return np.array([[float(r[n] or "nan") for n in names] for r in csv.DictReader(file)]).reshape(-1, len(names)).T

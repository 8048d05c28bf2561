"""How a run is getting on: speed, time left, memory, and how that is shown."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_WINDOW = 100  # steps that speed, waiting and the shown loss are taken over
_LINE_EVERY = 10  # steps between lines of a log that is no terminal
_STARVED = 0.05  # share of waiting from which on it is worth a word

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Progress:
    """What one step reports.

    Attributes
    ----------
    step : int
        Steps done, this one included.
    loss : float
        Of this step.
    rate : float
        Base learning rate of this step.
    crops_per_second : float
        Over the last hundred steps.
    seconds_left : float
        Of training, to the last step at that speed.
    memory_bytes : int
        Most that was held on the GPU so far, or what this process now holds in main memory; 0 where it is not told.
    waiting : float
        Share of the last hundred steps' time, 0 to 1, that went by until the loader had the next crops.
    """

    step: int
    loss: float
    rate: float
    crops_per_second: float
    seconds_left: float
    memory_bytes: int
    waiting: float


class Clock:
    """Turns steps into speed and time left, over the last hundred steps.

    Time in `paused` is not training; nor is the wait for the first crops, in which the loader's processes start.

    Parameters
    ----------
    iterations : int
        Steps of the whole run.
    crops : int
        In a step, on all machines together.
    device : str
        Whose memory is told: "cpu" or a GPU's name.
    now : callable
        The time in seconds.

    Examples
    --------
    ::

        clock = Clock(iterations=6000, crops=20)
        for step, (images, labels) in enumerate(clock.loading(loader), start=first):
            ...
            report = clock.tick(step + 1, loss, rate)
            with clock.paused():
                save()
    """

    def __init__(
        self, *, iterations: int, crops: int, device: str = "cpu", now: Callable[[], float] = time.perf_counter
    ) -> None:
        self.iterations = iterations
        self.crops = crops
        self.device = device
        self._now = now
        self._away = 0.0
        self._waited = 0.0
        self._begun: float | None = None
        self._ends: deque[tuple[int, float, float]] = deque(maxlen=_WINDOW + 1)  # step, seconds trained, waited

    def loading(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches; the time until each is there counts as waiting."""
        iterator = iter(batches)
        while True:
            asked = self._now()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            if self._begun is None:
                self._begun = self._trained()
            else:
                self._waited += self._now() - asked
            yield batch

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the block's time: evaluating, saving."""
        left = self._now()
        try:
            yield
        finally:
            self._away += self._now() - left

    def tick(self, step: int, loss: float, rate: float) -> Progress:
        """Report a step that is done.

        Parameters
        ----------
        step : int
            Steps done, this one included.
        loss, rate : float

        Returns
        -------
        Progress
            Speeds are NaN after the first step of batches that did not come through `loading`.
        """
        if not self._ends and self._begun is not None:
            self._ends.append((step - 1, self._begun, 0.0))
        self._ends.append((step, self._trained(), self._waited))
        (s0, t0, w0), (s1, t1, w1) = self._ends[0], self._ends[-1]
        seconds, per_step = t1 - t0, float("nan")
        if s1 > s0 and seconds > 0:
            per_step = seconds / (s1 - s0)
        return Progress(
            step,
            loss,
            rate,
            self.crops / per_step,
            per_step * (self.iterations - step),
            memory_bytes(self.device),
            (w1 - w0) / seconds if seconds > 0 else 0.0,
        )

    def _trained(self) -> float:
        return self._now() - self._away


def memory_bytes(device: str = "cpu") -> int:
    """Return the most that tensors held on a GPU so far, or what this process holds in main memory; 0 if unknown.

    Where the system tells no present size (macOS) it is the largest so far.
    """
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if os.uname().sysname == "Darwin" else largest * 1024


def progress_line(report: Progress, iterations: int, *, mean_iou: float | None = None) -> str:
    """One line: step, loss, rate, speed, memory, time left, and the last mean IoU (0 to 1) if there is one."""
    return f"step {report.step:>6}/{iterations}  " + "  ".join(_figures(report, mean_iou))


def _figures(report: Progress, mean_iou: float | None) -> list[str]:
    figures = [f"loss {report.loss:.3f}", f"rate {report.rate:.2e}", f"{report.crops_per_second:.2f} crops/s"]
    if report.memory_bytes:
        figures.append(f"{report.memory_bytes / 2**30:.1f} GiB")
    figures.append(f"{_duration(report.seconds_left)} left")
    if mean_iou is not None:
        figures.append(f"mIoU {100 * mean_iou:.2f} %")
    if report.waiting >= _STARVED:
        figures.append(f"{100 * report.waiting:.0f} % of it waiting for crops")
    return figures


def _duration(seconds: float) -> str:
    if not seconds < float("inf"):
        return "?"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}" if hours < 48 else f"{hours // 24}d{hours % 24:02}h"


class ProgressDisplay:
    """A bar with figures under it on a terminal; elsewhere a line every ten steps, and after the last one.

    The loss is the mean of the last hundred steps'. No thread draws: loader processes may be forked at any time.
    """

    def __init__(self, console: Console, iterations: int, first_step: int = 0) -> None:
        self.console = console
        self.iterations = iterations
        self.mean_iou: float | None = None
        self._losses: deque[float] = deque(maxlen=_WINDOW)
        self._live: Live | None = None
        if console.is_interactive:
            self._live = Live(console=console, auto_refresh=False)
        self._first = first_step
        self._drawn = float("-inf")

    def __enter__(self) -> "ProgressDisplay":
        if self._live is not None:
            self._live.start()
            self._live.update(Text(f"step {self._first}/{self.iterations}: first crops are being read"), refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def step(self, progress: Progress) -> None:
        """Show a step."""
        self._losses.append(progress.loss)
        shown = replace(progress, loss=sum(self._losses) / len(self._losses))
        last = progress.step == self.iterations
        if self._live is None:
            if last or progress.step % _LINE_EVERY == 0:
                line = progress_line(shown, self.iterations, mean_iou=self.mean_iou)
                self.console.print(line, highlight=False, markup=False, soft_wrap=True)
        elif last or time.monotonic() - self._drawn > 0.2:
            self._drawn = time.monotonic()
            self._live.update(self._panel(shown), refresh=True)

    def evaluation(self, step: int, mean_iou: float, pixel_accuracy: float) -> None:
        """Say the scores (0 to 1) in a line that stays, and go on showing the mean IoU."""
        self.mean_iou = mean_iou
        line = f"step {step}: mean IoU {100 * mean_iou:.2f} %, pixel accuracy {100 * pixel_accuracy:.2f} %"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _panel(self, report: Progress) -> Group:
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True)
        bar.add_row(
            f"step {report.step}/{self.iterations}",
            ProgressBar(total=self.iterations, completed=report.step),
            f"{100 * report.step / self.iterations:.0f} %",
        )
        return Group(bar, Text("  ".join(_figures(report, self.mean_iou))))

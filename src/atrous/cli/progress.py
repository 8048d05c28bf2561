"""Progress bar of the commands."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from .._printable import printable


class Update(Protocol):
    """Callable that updates a progress bar."""

    def __call__(self, done: float, total: float | None = None, *, label: str = "", text: str = "") -> None:
        """Show `done` of `total`. Default: the total and the label do not change."""


@contextmanager
def progress_bar(
    label: str, total: float | None = None, *, counted: bool = True, shown: bool = True
) -> Iterator[Update]:
    """Show a bar and the remaining time on standard error during the block, if it is a terminal.

    Parameters
    ----------
    label : str
        Text in front of the bar.
    total : float, optional
        Total. Default: unknown.
    counted : bool
        Whether to show "3/10" instead of a percentage.
    shown : bool
        Whether to show a bar.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda done, total=None, *, label="", text="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn() if counted else TaskProgressColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(printable(label), total=total, text="")

        def update(done: float, total: float | None = None, *, label: str = "", text: str = "") -> None:
            if label and bar.tasks[0].description != printable(label):  # a new task has its own speed
                bar.reset(task, description=printable(label))
            bar.update(task, completed=done, total=total, text=text)

        yield update

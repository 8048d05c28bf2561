"""Trials of a search, in a CSV file from which a later run resumes."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

from atrous._io import write_text
from atrous._settings_files import read_bytes
from atrous.errors import InputError, as_input_error

Point: TypeAlias = tuple[float, float, float]  # weight, sxy, srgb

_COLUMNS = "weight,sxy,srgb,mean_iou"
_LARGEST = 1 << 26  # bytes: a million trials


class Trial(NamedTuple):
    """Parameters of the bilateral kernel, and the mean IoU with them, 0 to 1."""

    weight: float
    sxy: float
    srgb: float
    mean_iou: float


class TrialTable:
    """Finished trials in order of completion, also stored at `path`.

    The first line stores `identity` as JSON. Each trial is a line of its own; an incomplete last line is dropped, so a
    run can be stopped at any time.

    Parameters
    ----------
    path : path, optional
        Read if it exists; otherwise created by `create` or with the first trial.
    identity : mapping
        Settings that must be equal for trials to be comparable: data, model, steps, and so on.

    Raises
    ------
    InputError
        If the file belongs to another search, or is not a trial table.
    """

    def __init__(self, path: str | os.PathLike[str] | None, identity: Mapping[str, object]) -> None:
        self.path = None if path is None else Path(path)
        self._identity = json.loads(json.dumps(identity))
        self._scores: dict[Point, float] = {}
        if self.path is not None and self.path.exists():
            self._read(self.path)

    def __contains__(self, point: Point) -> bool:
        return point in self._scores

    def __getitem__(self, point: Point) -> float:
        return self._scores[point]

    def __len__(self) -> int:
        return len(self._scores)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Trials in order of completion."""
        return tuple(Trial(*point, score) for point, score in self._scores.items())

    def create(self) -> None:
        """Create the file if it does not exist, so that an unwritable path fails before the search."""
        if self.path is not None and not self.path.exists():
            self.save(self.path)

    def add(self, trials: Iterable[Trial]) -> None:
        """Append finished trials."""
        trials = tuple(trials)
        self.create()
        if self.path is not None:
            lines = "".join(map(_line, trials))
            with as_input_error(self.path), self.path.open("r+", encoding="utf-8", newline="") as file:
                file.seek(0, os.SEEK_END)
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        self._scores.update((trial[:3], trial.mean_iou) for trial in trials)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table to another file, atomically."""
        with as_input_error(path):
            write_text(path, self._head() + "".join(map(_line, self.trials)))

    def _head(self) -> str:
        return f"# {json.dumps(self._identity)}\n{_COLUMNS}\n"

    def _read(self, path: Path) -> None:
        try:
            text = read_bytes(path, "a table of trials", _LARGEST).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: cannot be read as a table of trials ({error}); choose another file") from None
        # A line without a newline is incomplete.
        complete = text[: text.rfind("\n") + 1]
        lines = complete.split("\n")[:-1]
        self._check_head(path, lines)
        for number, line in enumerate(lines[2:], start=3):
            trial = _parsed(line)
            if trial is None:
                raise InputError(
                    f"{path}: line {number}: expected {_COLUMNS} as numbers, got {line!r:.80};"
                    " delete the line to rerun the trial"
                )
            self._scores[trial[:3]] = trial.mean_iou
        if complete != text:
            with as_input_error(path):
                os.truncate(path, len(complete.encode()))

    def _check_head(self, path: Path, lines: list[str]) -> None:
        try:
            stored = json.loads(lines[0].removeprefix("# ")) if lines[1] == _COLUMNS else None
        except (IndexError, ValueError, RecursionError):
            stored = None
        if not isinstance(stored, dict):
            raise InputError(f"{path}: expected a table of trials as `atrous tune` writes it; choose another file")
        for key in [*self._identity, *stored]:
            got, expected = stored.get(key), self._identity.get(key)
            if got != expected:
                raise InputError(
                    f"{path}: of another search: expected {key} {expected!r:.70}, got {got!r:.70};"
                    " choose another file or delete it"
                )


def _line(trial: Trial) -> str:
    # repr round-trips floats.
    return ",".join(repr(float(value)) for value in trial) + "\n"


def _parsed(line: str) -> Trial | None:
    try:
        trial = Trial(*map(float, line.split(",")))
    except (ValueError, TypeError):
        return None
    positive = all(math.isfinite(value) and value > 0 for value in trial[:3])
    return trial if positive and 0 <= trial.mean_iou <= 1 else None

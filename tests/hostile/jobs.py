"""A small run of each command that writes files."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from forks import Fault, Forks, Run
from outputs import Expected, contents

NEEDS_TORCH = ("train", "convert", "export")
NEEDS = {"bulk": ("ray", "pyarrow", "fsspec"), "tune": ("matplotlib",), "evaluate": ("jinja2", "matplotlib")}

# From the fixtures of conftest.py and the output folder to arguments.
Arguments = Callable[[Callable[[str], Any], Path], tuple[object, ...]]

_SCORES = {"json": "scores.json", "csv": "scores.csv", "report": "report.html", "submit": "submission"}
_GRID = ("--weight", 4, "--sxy", "40,60", "--srgb", 5, "--finer", 0, "--iterations", 2, "--hold-out", 0)
_STEPS = (
    *("--recipe", "cpu", "--crop", 33, "--set", "frozen=none", "--threads", 1, "--workers", 0, "--allow-overlap"),
    *("--iterations", 4, "--save-every", 2),
)

ARGUMENTS: dict[str, Arguments] = {
    "segment": lambda get, out: ("segment", get("photos"), "--out", out, *get("model")),
    "refine": lambda get, out: (
        *("refine", get("data") / "images/photo0.jpg", get("data") / "labels/photo0.png", "--out", out, "--overwrite"),
        *("--classes", get("data") / "classes.txt"),
    ),
    "evaluate": lambda get, out: (
        *("evaluate", get("data"), "--list", "all", *get("model")),
        *(word for option, name in _SCORES.items() for word in (f"--{option}", out / name)),
    ),
    "tune": lambda get, out: (
        *("tune", get("data"), "--list", "all", "--model", get("tiny_model"), *_GRID, "--out", out / "crf.json"),
    ),
    "bulk": lambda get, out: ("bulk", get("photos"), out, *get("model"), "--shard-size", 2),
    "train": lambda get, out: (
        *("train", get("data"), "--list", "all", "--weights", get("vgg"), "--out", out, *_STEPS),
    ),
    "convert": lambda get, out: ("convert", get("vgg"), out / "start.safetensors", "--overwrite"),
    "export": lambda get, out: (
        *("export", get("trained") / "checkpoint-000004", out / "model.onnx", "--report", out / "report.json"),
    ),
}


@dataclass(frozen=True)
class Job:
    """A command and its output folder.

    Attributes
    ----------
    name : str
    out : Path
    expected : Expected
        What an uninterrupted run leaves.
    operations : int
        File operations in such a run.
    """

    name: str
    out: Path
    expected: Expected
    operations: int
    forks: Forks
    arguments: tuple[object, ...]

    def __call__(self, **options: Any) -> Run:
        """Run it; for the options see `Forks`."""
        return self.forks(*self.arguments, **options)

    def clear(self) -> None:
        """Empty the output folder."""
        shutil.rmtree(self.out)
        self.out.mkdir()

    def fault(self, at: int, **what: Any) -> Fault:
        """Return a fault at an operation on the output folder."""
        return Fault(str(self.out), at=at, **what)


def make_job(name: str, get: Callable[[str], Any], folder: Path) -> Job:
    """Run a command once and return it, to be run again with faults."""
    for module in NEEDS.get(name, ()):
        pytest.importorskip(module)
    out = folder / "out"
    out.mkdir()
    forks = get("heavy" if name in NEEDS_TORCH else "light")
    arguments = ARGUMENTS[name](get, out)
    run = forks(*arguments, fault=Fault(str(out))).done()
    assert run.operations > 3
    return Job(name, out, Expected(contents(out)), run.operations, forks, arguments)

"""What an evaluation was of, with what, when and where: its head in every report."""

import dataclasses
import os
import platform
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .._cpu_count import processors
from ..data.metadata import VOC_CLASSES, CrfParameters
from ..segmenter import Segmenter
from .tuning_samples import model_sha256

# Images in PASCAL VOC 2012's lists and in those with the masks of Hariharan et al. 2011.
VOC_LISTS = {"train": 1464, "val": 1449, "trainval": 2913, "test": 1456, "train_aug": 10582, "trainval_aug": 12031}


@dataclass(frozen=True)
class Run:
    """What an evaluation was of.

    Attributes
    ----------
    data : str
    listed, sha256 : str
        The list's name, and the hash of the names that were scored.
    listed_images : int
        In the list, before a limit.
    official : int or None
        Images in VOC's list of that name, if this is one of VOC's.
    subject : dict of str to str
        What was scored: model and CRF, or folders.
    warnings : tuple of str
    begun : str
        Date and time, ISO 8601.
    seconds : float
        That the scoring took.
    workers, threads, processes : int
        Images in work at once, threads of each, processes of the evaluation.
    machine : str
    versions : dict of str to str
    """

    data: str
    listed: str
    sha256: str
    listed_images: int
    official: int | None
    subject: dict[str, str]
    warnings: tuple[str, ...]
    begun: str
    seconds: float
    workers: int
    threads: int
    processes: int
    machine: str = field(default_factory=lambda: machine())
    versions: dict[str, str] = field(default_factory=lambda: versions())

    def scope(self, images: int) -> str:
        """Say over what the scores are: a part of a list is not the list."""
        some = f"{images:,} of the {self.listed_images:,}" if images != self.listed_images else f"{images:,}"
        part = f", a part of VOC's {self.official:,}" if self.official and self.official != images else ""
        return f"{some} images of {self.listed}{part}"


def official_size(listed: str, classes: tuple[str, ...]) -> int | None:
    """Return how many images PASCAL VOC 2012's list of that name has, or None for other data."""
    return VOC_LISTS.get(listed) if classes == VOC_CLASSES else None


def subject_of(segmenter: Segmenter, model: str | os.PathLike[str] | None) -> dict[str, str]:
    """Describe a segmenter: its model and its CRF."""
    metadata = segmenter.engine.metadata
    name = "bundled with atrous" if model is None else os.fspath(model)
    return {
        "model": f"{name} (sha256 {model_sha256(model)[:12]})",
        "network": f"{metadata.variant}, {metadata.precision}",
        "engine": getattr(segmenter.engine, "name", type(segmenter.engine).__name__),
        "trained on": metadata.training_list,
        "CRF": _crf(segmenter),
    }


def _crf(segmenter: Segmenter) -> str:
    crf = segmenter.crf
    if crf is None:
        return "none"
    if isinstance(crf, CrfParameters):
        return ", ".join(f"{name} {_short(value)}" for name, value in dataclasses.asdict(crf).items())
    return "; ".join(map(repr, crf))


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def machine() -> str:
    """Return the processor's name, the cores that may be used and the system."""
    cores = processors()
    return f"{_processor()}, {cores} core{'s' if cores != 1 else ''}, {platform.system()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of what took part in the scores."""
    found = {"Python": platform.python_version()}
    for package in ("atrous", "numpy", "onnxruntime", "openvino", "torch"):
        # Of those that may be absent, what ran.
        if package in ("openvino", "torch") and package not in sys.modules:
            continue
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            found[package] = "unknown"
    return found

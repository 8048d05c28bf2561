"""Facts about an evaluation run that head every report."""

import dataclasses
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .._provenance import machine, versions
from ..data.metadata import VOC_CLASSES, CrfParameters, ModelMetadata
from ..data.samples import ImageList
from ..data.voc import LIST_SIZES
from ..segmenter import Segmenter
from .tuning_samples import model_sha256

# The names of the training images, one a line, that training leaves in a checkpoint's folder.
TRAINING_LIST = "training-list.txt"


@dataclass(frozen=True)
class RunInfo:
    """Data, subject, machine and versions of an evaluation run.

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
    machine: str = field(default_factory=machine)
    versions: dict[str, str] = field(default_factory=lambda: scoring_versions())

    def scope(self, images: int) -> str:
        """Say over what the scores are: a part of a list is not the list."""
        some = f"{images:,} of the {self.listed_images:,}" if images != self.listed_images else f"{images:,}"
        part = f", a part of VOC's {self.official:,}" if self.official and self.official != images else ""
        return f"{some} images of {self.listed}{part}"


def official_size(listed: str, classes: tuple[str, ...]) -> int | None:
    """Return how many images PASCAL VOC 2012's list of that name has, or None for other data."""
    return LIST_SIZES.get(listed) if classes == VOC_CLASSES else None


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


def scoring_versions() -> dict[str, str]:
    """Return the versions of what took part in the scores."""
    used = [name for name in ("openvino", "torch") if name in sys.modules]
    return versions(["atrous", "numpy", "onnxruntime", *used])


def overlap_warning(metadata: ModelMetadata, model: Path | None, samples: ImageList) -> str | None:
    """Return a sentence if a model has, or may have, seen images that it is to be scored on.

    Parameters
    ----------
    metadata : ModelMetadata
    model : Path or None
        A checkpoint's folder holds the names themselves; of an exported model only the list's name and hash are known.
    samples : ImageList
        The whole list, before any are left out.
    """
    names = model / TRAINING_LIST if model is not None else None
    if names is not None and names.is_file():
        seen = set(names.read_bytes().decode("utf-8", "surrogateescape").split("\n"))
        count = sum(sample.name in seen for sample in samples.samples)
        return f"{count} of {samples.name}'s {len(samples)} images are among those trained on" if count else None
    if metadata.training_list_sha256 == samples.sha256:
        return f"the model was trained on the very images of {samples.name}"
    if metadata.training_list == samples.name:
        return f"the model was trained on a list of the same name, {samples.name}; it may have seen these images"
    return None

"""Description of an evaluation run for reports: data, model, machine and versions."""

import dataclasses
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .._provenance import machine, versions
from ..data.dataset import Dataset
from ..data.metadata import VOC_CLASSES, CrfParameters, ModelMetadata
from ..data.samples import ImageList
from ..data.sbd import LIST_SIZES
from ..segmenter import Segmenter
from .tuning_samples import model_sha256

# File in a checkpoint's folder with the names of the training images, one per line.
TRAINING_LIST = "training-list.txt"


@dataclass(frozen=True)
class RunInfo:
    """Data, subject, machine and versions of an evaluation run.

    Attributes
    ----------
    data : str
    listed, sha256 : str
        Name of the list, and hash of the scored names.
    listed_images : int
        Number of images in the list, before a limit.
    official : int or None
        Number of images in VOC's list of that name; None for other data.
    subject : dict of str to str
        Scored model and CRF, or folders.
    warnings : tuple of str
    started : str
        Start time, ISO 8601.
    seconds : float
        Duration of the scoring.
    workers, threads, processes : int
        Parallel images, threads per image, and processes.
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
    started: str
    seconds: float
    workers: int
    threads: int
    processes: int
    machine: str = field(default_factory=machine)
    versions: dict[str, str] = field(default_factory=lambda: scoring_versions())

    def scope(self, images: int) -> str:
        """Return the number of scored images, and the size of the list if it is larger."""
        some = f"{images:,} of the {self.listed_images:,}" if images != self.listed_images else f"{images:,}"
        part = f", a part of VOC's {self.official:,}" if self.official and self.official != images else ""
        return f"{some} images of {self.listed}{part}"


def official_size(listed: str, dataset: Dataset) -> int | None:
    """Return the number of images in PASCAL VOC 2012's list of that name, or None for other data."""
    is_voc = dataset.layout == "voc" and dataset.classes == VOC_CLASSES
    return LIST_SIZES.get(listed) if is_voc and dataset.has_list_file(listed) else None


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
    """Return the versions of the packages that affect the scores."""
    used = [name for name in ("openvino", "torch") if name in sys.modules]
    return versions(["atrous", "numpy", "onnxruntime", *used])


def overlap_warning(metadata: ModelMetadata, model: Path | None, samples: ImageList) -> str | None:
    """Return a warning if the model was, or may have been, trained on images of the evaluation list.

    Parameters
    ----------
    metadata : ModelMetadata
    model : Path or None
        A checkpoint's folder contains the training images' names; of an exported model only the list's name and hash
        are known.
    samples : ImageList
        The whole list, before a limit.
    """
    names = model / TRAINING_LIST if model is not None else None
    if names is not None and names.is_file():
        seen = set(names.read_bytes().decode("utf-8", "surrogateescape").split("\n"))
        count = sum(sample.name in seen for sample in samples.samples)
        return f"{count} of {samples.name}'s {len(samples)} images were used in training" if count else None
    if metadata.training_list_sha256 == samples.sha256:
        return f"the model was trained on the images of {samples.name}"
    if metadata.training_list == samples.name:
        return f"the model was trained on a list with the name {samples.name}, possibly on these images"
    return None

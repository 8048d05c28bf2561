"""PASCAL VOC 2012 as it lies on disk."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..palette import read_labels
from .images import read_image


@dataclass(frozen=True)
class Sample:
    """A photo and its label file (None where only the photo is needed)."""

    name: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class VocList:
    """One list of a VOC folder: `ImageSets/Segmentation/<name>.txt` and the files it names.

    Attributes
    ----------
    name : str
        The list's name, for example "train_aug".
    sha256 : str
        Hash of the sorted sample names, so that two runs can tell whether they saw the same images.
    samples : tuple of Sample
        In the order of the list.
    """

    name: str
    sha256: str
    samples: tuple[Sample, ...]

    def hold_out(self, count: int) -> tuple["VocList", "VocList"]:
        """Split into (the rest, `count` images evenly spaced along the list).

        The held-out images serve to choose the CRF's parameters without touching the evaluation set.

        Raises
        ------
        InputError
            If fewer than `count` + 1 images are there.
        """
        if not 0 <= count < len(self):
            raise InputError(f"hold_out={count}: expected 0 to {len(self) - 1}, as list {self.name} is that long")
        held = {i * len(self) // count for i in range(count)}
        rest = tuple(s for i, s in enumerate(self.samples) if i not in held)
        return _voc_list(self.name, rest), _voc_list(
            f"{self.name}-held-out-{count}", tuple(self.samples[i] for i in sorted(held))
        )

    def __len__(self) -> int:
        return len(self.samples)


def _voc_list(name: str, samples: tuple[Sample, ...]) -> VocList:
    digest = hashlib.sha256("\n".join(sorted(s.name for s in samples)).encode()).hexdigest()
    return VocList(name, digest, samples)


def read_list(root: str | os.PathLike[str], name: str) -> VocList:
    """Read a list of a VOC 2012 folder.

    Parameters
    ----------
    root : path
        The folder that holds `JPEGImages`, `SegmentationClassAug` (or `SegmentationClass`) and
        `ImageSets/Segmentation`.
    name : str
        List name without ".txt", or the path of a text file with one image name per line.

    Raises
    ------
    InputError
        If the folder is not laid out as VOC's, or the list names files that are not there.
    """
    root = Path(root)
    listing = Path(name) if name.endswith(".txt") else root / "ImageSets" / "Segmentation" / f"{name}.txt"
    if not listing.is_file():
        raise InputError(
            f"{listing}: expected a text file with one image name per line; "
            f"lists of {root}: {', '.join(_list_names(root)) or 'none found, is it a VOC 2012 folder?'}"
        )
    labels = next((d for d in (root / "SegmentationClassAug", root / "SegmentationClass") if d.is_dir()), None)
    if labels is None:
        raise InputError(f"{root}: expected a folder SegmentationClassAug or SegmentationClass in it, got none")
    names = listing.read_text().split()
    if not names:
        raise InputError(f"{listing}: expected one image name per line, got an empty file")
    samples = tuple(Sample(n, root / "JPEGImages" / f"{n}.jpg", labels / f"{n}.png") for n in names)
    for sample in samples:
        for path in (sample.image, sample.label):
            if path is not None and not path.is_file():
                raise InputError(f"{path}: named by {listing}, but no such file; take it off the list or add it")
    return _voc_list(listing.stem, samples)


def _list_names(root: Path) -> list[str]:
    return sorted(p.stem for p in (root / "ImageSets" / "Segmentation").glob("*.txt"))


def read_pair(sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read a photo and its labels.

    Returns
    -------
    image : (H, W, 3) uint8
        RGB.
    labels : (H, W) uint8
        Class ids, 255 void.

    Raises
    ------
    InputError
        If there is no label file, one of the two cannot be read, or they differ in size.
    """
    if sample.label is None:
        raise InputError(f"{sample.image}: has no label map")
    image, labels = read_image(sample.image), read_labels(sample.label)
    if image.shape[:2] != labels.shape:
        raise InputError(
            f"{sample.label}: {labels.shape[1]}x{labels.shape[0]} pixels, but {sample.image} has"
            f" {image.shape[1]}x{image.shape[0]}; they have to be of one size"
        )
    return image, labels

"""Photos with their label maps, and lists of them."""

import hashlib
from collections.abc import Iterable
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
class ImageList:
    """A named list of samples.

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

    def hold_out(self, count: int) -> tuple["ImageList", "ImageList"]:
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
        return image_list(self.name, rest), image_list(
            f"{self.name}-held-out-{count}", tuple(self.samples[i] for i in sorted(held))
        )

    def __len__(self) -> int:
        return len(self.samples)


def image_list(name: str, samples: Iterable[Sample]) -> ImageList:
    """Make a list of samples, and the hash of their names."""
    samples = tuple(samples)
    digest = hashlib.sha256("\n".join(sorted(s.name for s in samples)).encode()).hexdigest()
    return ImageList(name, digest, samples)


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

"""Photos with their label maps, and lists of them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..image_io.decode import read_image
from ..labelmap import read_labels
from ..labelmap.color_table import ColorTable
from ..labelmap.voc_colormap import VOID


@dataclass(frozen=True)
class Sample:
    """A photo and its label file (None where only the photo is needed).

    Attributes
    ----------
    name : str
    image : Path
    label : Path or None
        A PNG file of label ids.
    colors : ColorTable, optional
        Given if the label file is drawn in colors instead.
    classes : int, optional
        How many there are; larger ids are an error. Any are taken if left out.
    """

    name: str
    image: Path
    label: Path | None
    colors: ColorTable | None = None
    classes: int | None = None


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
    digest = hashlib.sha256("\n".join(sorted(s.name for s in samples)).encode(errors="surrogateescape")).hexdigest()
    return ImageList(name, digest, samples)


def read_pair(sample: Sample, *, unlabeled: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read a photo and its labels.

    Parameters
    ----------
    sample : Sample
    unlabeled : bool
        Return labels that are all void where there is no label file, instead of raising.

    Returns
    -------
    image : (H, W, 3) uint8
        RGB.
    labels : (H, W) uint8
        Class ids, 255 void.

    Raises
    ------
    InputError
        If there is no label file, one of the two cannot be read, they differ in size, or a label is no class.
    """
    if unlabeled and sample.label is None:
        image = read_image(sample.image)
        return image, np.full(image.shape[:2], VOID, np.uint8)
    labels = read_label_map(sample)
    image = read_image(sample.image)
    if image.shape[:2] != labels.shape:
        raise InputError(
            f"{sample.label}: {labels.shape[1]}x{labels.shape[0]} pixels, but {sample.image} has"
            f" {image.shape[1]}x{image.shape[0]}; they have to be of one size"
        )
    return image, labels


def read_label_map(sample: Sample) -> NDArray[np.uint8]:
    """Read a sample's labels alone, (H, W) uint8; for errors see `read_pair`."""
    if sample.label is None:
        raise InputError(f"{sample.image}: has no label map")
    labels = read_labels(sample.label) if sample.colors is None else sample.colors.read_labels(sample.label)
    if sample.classes is not None and (place := first_beyond(labels, sample.classes)) is not None:
        y, x = place
        raise InputError(
            f"{sample.label}: the pixel at x={x}, y={y} has id {labels[y, x]}; expected 0 to {sample.classes - 1},"
            f" or {VOID} for void, as there are {sample.classes} classes"
        )
    return labels


def first_beyond(labels: NDArray[np.uint8], classes: int) -> tuple[int, int] | None:
    """Return (row, column) of the first pixel that is neither one of `classes` ids nor void, or None."""
    # Void, one more, is 0 in 8 bits: one comparison finds what lies between the classes and it.
    beyond = labels + np.uint8(1) > classes
    if not beyond.any():
        return None
    y, x = divmod(int(beyond.argmax()), labels.shape[1])
    return y, x

"""Images with label maps, and lists of them."""

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
    """An image and its label file, or None if only the image is needed.

    Attributes
    ----------
    name : str
    image : Path
    label : Path or None
        A PNG file of label ids.
    colors : ColorTable, optional
        Color table if the label file is drawn in colors. Default: the file contains ids.
    classes : int, optional
        Number of classes; larger ids are errors. Default: any id is accepted.
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
        Hash of the sorted sample names, which identifies the set of images.
    samples : tuple of Sample
        In the order of the list.
    """

    name: str
    sha256: str
    samples: tuple[Sample, ...]

    def hold_out(self, count: int) -> tuple["ImageList", "ImageList"]:
        """Split into (the rest, `count` evenly spaced images).

        The held-out images serve to tune the CRF without using the evaluation set.

        Raises
        ------
        InputError
            If there are fewer than `count` + 1 images.
        """
        if not 0 <= count < len(self):
            raise InputError(f"hold_out={count}: expected 0 to {len(self) - 1}, the length of list {self.name} minus 1")
        held = {i * len(self) // count for i in range(count)}
        rest = tuple(s for i, s in enumerate(self.samples) if i not in held)
        return image_list(self.name, rest), image_list(
            f"{self.name}-held-out-{count}", tuple(self.samples[i] for i in sorted(held))
        )

    def __len__(self) -> int:
        return len(self.samples)


def image_list(name: str, samples: Iterable[Sample]) -> ImageList:
    """Return a list of samples with the hash of their names."""
    samples = tuple(samples)
    digest = hashlib.sha256("\n".join(sorted(s.name for s in samples)).encode(errors="surrogateescape")).hexdigest()
    return ImageList(name, digest, samples)


def read_pair(sample: Sample, *, unlabeled: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read an image and its labels.

    Parameters
    ----------
    sample : Sample
    unlabeled : bool
        If there is no label file, whether to return void labels instead of raising an error.

    Returns
    -------
    image : (H, W, 3) uint8
        RGB.
    labels : (H, W) uint8
        Class ids, 255 void.

    Raises
    ------
    InputError
        If there is no label file, a file cannot be read, the sizes differ, or a label is out of range.
    """
    if unlabeled and sample.label is None:
        image = read_image(sample.image)
        return image, np.full(image.shape[:2], VOID, np.uint8)
    labels = read_label_map(sample)
    image = read_image(sample.image)
    if image.shape[:2] != labels.shape:
        raise InputError(
            f"{sample.label}: expected the size of {sample.image}, {image.shape[1]}x{image.shape[0]} pixels, got"
            f" {labels.shape[1]}x{labels.shape[0]}; save the label map at the image's size"
        )
    return image, labels


def read_label_map(sample: Sample) -> NDArray[np.uint8]:
    """Read a sample's labels, (H, W) uint8; see `read_pair` for errors."""
    if sample.label is None:
        raise InputError(f"{sample.image}: expected a label map, found none")
    labels = read_labels(sample.label) if sample.colors is None else sample.colors.read_labels(sample.label)
    if sample.classes is not None and (place := first_beyond(labels, sample.classes)) is not None:
        y, x = place
        raise InputError(
            f"{sample.label}: expected ids 0 to {sample.classes - 1}, or {VOID} for void, got id {labels[y, x]} at"
            f" x={x}, y={y}; there are {sample.classes} classes"
        )
    return labels


def first_beyond(labels: NDArray[np.uint8], classes: int) -> tuple[int, int] | None:
    """Return (row, column) of the first pixel that is neither a valid id nor void, or None."""
    # Adding 1 maps void to 0 in 8 bits, so that one comparison finds invalid ids.
    beyond = labels + np.uint8(1) > classes
    if not beyond.any():
        return None
    y, x = divmod(int(beyond.argmax()), labels.shape[1])
    return y, x

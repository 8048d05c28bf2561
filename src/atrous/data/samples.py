"""Images with label maps, and lists of them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
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
        Number of classes; other ids are errors. Default: any id is accepted.
    void : tuple of int
        Ids in the label file that mean void, besides 255. The others, in their order, are the classes. If 255 is among
        them, label maps of two classes that contain only 0 and 255 are accepted.
    names : tuple of str
        Names of the classes for messages.
    """

    name: str
    image: Path
    label: Path | None
    colors: ColorTable | None = None
    classes: int | None = None
    void: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


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
    if (wrong := wrong_size(labels, sample.image, image.shape)) is not None:
        raise InputError(f"{sample.label}: {wrong}; save the label map at the image's size")
    return image, labels


def read_label_map(sample: Sample) -> NDArray[np.uint8]:
    """Read a sample's labels, (H, W) uint8; see `read_pair` for errors."""
    if sample.label is None:
        raise InputError(f"{sample.image}: expected a label map, found none")
    if sample.colors is not None:
        return sample.colors.read_labels(sample.label)
    labels = read_labels(sample.label)
    if (wrong := wrong_ids(labels, sample)) is not None:
        raise InputError(f"{sample.label}: {wrong}")
    if not sample.void:
        return labels
    return class_of_id(sample.classes, sample.void).astype(np.uint8).take(labels)


def wrong_size(labels: NDArray[np.uint8], image: Path, shape: tuple[int, ...]) -> str | None:
    """Return what is wrong with the size of a label map; None if it is (height, width) of its image."""
    (height, width), (rows, columns) = shape[:2], labels.shape
    if (rows, columns) == (height, width):
        return None
    return f"expected the size of {image}, {width}x{height} pixels, got {columns}x{rows}"


@lru_cache(maxsize=4)
def class_of_id(classes: int | None, void: tuple[int, ...]) -> NDArray[np.intp]:
    """Return the class of each id in a label file, (256,): 255 for void, -1 for an id that is no class."""
    table = np.full(256, VOID)
    ids = [label for label in range(VOID) if label not in void]
    table[ids] = np.arange(len(ids))
    if classes is not None:
        table[ids[classes:]] = -1
    return table


def wrong_ids(labels: NDArray[np.uint8], sample: Sample) -> str | None:
    """Return what is wrong with the ids of a label file, and the remedy; None if nothing is."""
    if sample.classes is None:
        return None
    table = class_of_id(sample.classes, sample.void)
    foreign = np.flatnonzero((table < 0) & (np.bincount(labels.ravel(), minlength=256) > 0))
    if foreign.size:
        wrong = (table < 0).take(labels)
        y, x = divmod(int(wrong.argmax()), labels.shape[1])
        classes = np.flatnonzero((table >= 0) & (table != VOID))
        void = ", ".join(map(str, sorted({*sample.void, VOID})))
        ids = ", ".join(map(str, foreign[:8]))
        # The last id of a list without a line for id 0.
        shifted = foreign.tolist() == [classes[-1] + 1] and classes[0] == 0
        remedy = "; if id 0 is void, write 'void' before the first name, else" if shifted else ";"
        return (
            f"expected ids {classes[0]} to {classes[-1]}, or {void} for void, got id {labels[y, x]} at x={x}, y={y}"
            f" ({int(wrong.sum())} pixels of id {ids}); there are {sample.classes} classes{remedy} add names to the"
            f" class list, or pass void={foreign[0]} if it is void"
        )
    binary = sample.classes == 2 and {0, 1, VOID}.isdisjoint(sample.void)
    if binary and (labels == VOID).any() and not (labels == 1).any():
        first, second = sample.names if len(sample.names) == 2 else ("FIRST", "SECOND")
        return (
            f"expected ids 0 and 1, got only {' and '.join(map(str, np.unique(labels)))}, and {VOID} means void; if it"
            f" means the second class, add colors.txt with the lines '{first} 0 0 0' and '{second} 255 255 255'; if"
            f" it is void, pass void={VOID}"
        )
    return None

"""PASCAL VOC 2012 as it lies on disk."""

import os
from pathlib import Path

from ..errors import InputError
from ..palette.colour_table import ColourTable
from .folders import read_names
from .samples import ImageList, Sample, image_list


def label_folder(root: str | os.PathLike[str]) -> Path:
    """Return `SegmentationClassAug`, or `SegmentationClass` where that is not there."""
    root = Path(root)
    for folder in (root / "SegmentationClassAug", root / "SegmentationClass"):
        if folder.is_dir():
            return folder
    raise InputError(f"{root}: expected a folder SegmentationClassAug or SegmentationClass in it, got none")


def list_names(root: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of the lists in `ImageSets/Segmentation`."""
    return tuple(sorted(p.stem for p in (Path(root) / "ImageSets" / "Segmentation").glob("*.txt")))


def default_lists(root: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the names of the list to train on, train_aug if it is there, and of the list to score on."""
    return "train_aug" if "train_aug" in list_names(root) else "train", "val"


def read_list(
    root: str | os.PathLike[str], name: str, *, colours: ColourTable | None = None, classes: int | None = None
) -> ImageList:
    """Read a list of a VOC 2012 folder.

    Parameters
    ----------
    root : path
        The folder that holds `JPEGImages`, `SegmentationClassAug` (or `SegmentationClass`) and
        `ImageSets/Segmentation`.
    name : str
        List name without ".txt", or the path of a text file with one image name per line.
    colours : ColourTable, optional
        Given if the label maps are drawn in colours.
    classes : int, optional
        How many there are.

    Raises
    ------
    InputError
        If the folder is not laid out as VOC's, or the list is empty, names an image twice, or one that is not there.
    """
    root = Path(root)
    listing = Path(name) if name.endswith(".txt") else root / "ImageSets" / "Segmentation" / f"{name}.txt"
    if not listing.is_file():
        raise InputError(
            f"{listing}: expected a text file with one image name per line; "
            f"lists of {root}: {', '.join(list_names(root)) or 'none found, is it a VOC 2012 folder?'}"
        )
    labels = label_folder(root)
    samples = tuple(
        Sample(n, root / "JPEGImages" / f"{n}.jpg", labels / f"{n}.png", colours, classes) for n in read_names(listing)
    )
    for sample in samples:
        for path in (sample.image, sample.label):
            if path is not None and not path.is_file():
                raise InputError(f"{path}: named by {listing}, but no such file; take it off the list or add it")
    return image_list(listing.stem, samples)

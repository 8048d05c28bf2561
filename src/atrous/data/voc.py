"""Data sets in the layout of PASCAL VOC 2012."""

import os
from pathlib import Path, PurePosixPath

from ..errors import InputError
from .folder_dataset import read_names
from .samples import ImageList, Sample, image_list

# Sizes of PASCAL VOC 2012's lists and of those with the masks of Hariharan et al. 2011 (Chen et al. 2015, section 5).
LIST_SIZES = {"train": 1464, "val": 1449, "trainval": 2913, "test": 1456, "train_aug": 10582, "trainval_aug": 12031}


def label_folder(root: str | os.PathLike[str]) -> Path:
    """Return `SegmentationClassAug` if it exists, else `SegmentationClass`; raise InputError if neither exists."""
    folder = _label_folder(Path(root))
    if folder is None:
        raise InputError(f"{root}: expected a folder SegmentationClassAug or SegmentationClass in it, got none")
    return folder


def _label_folder(root: Path) -> Path | None:
    folders = (root / "SegmentationClassAug", root / "SegmentationClass")
    return next((folder for folder in folders if folder.is_dir()), None)


def list_names(root: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of the lists in `ImageSets/Segmentation`."""
    return tuple(sorted(p.stem for p in (Path(root) / "ImageSets" / "Segmentation").glob("*.txt")))


def default_lists(root: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the names of the training list, train_aug if it exists, and of the evaluation list."""
    return "train_aug" if "train_aug" in list_names(root) else "train", "val"


def image_name(line: str) -> str:
    """Return the image that a line of a list names.

    A line contains a name, the name of an image file, or an image and its label map as in the authors' lists.

    Examples
    --------
    >>> image_name("/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png")
    '2007_000032'
    """
    image, *label = map(PurePosixPath, line.split())
    if image.suffix == ".jpg" and [path.name for path in label] in ([], [f"{image.stem}.png"]):
        return image.stem
    return line


def read_list(
    root: str | os.PathLike[str],
    name: str,
    *,
    unlabeled: bool = False,
) -> ImageList:
    """Read a list of a VOC 2012 folder.

    Parameters
    ----------
    root : path
        The folder with `JPEGImages`, `SegmentationClassAug` (or `SegmentationClass`) and
        `ImageSets/Segmentation`.
    name : str
        Name of a list without ".txt", or path of a text file with one image per line; see `image_name`.
    unlabeled : bool
        Whether to include images without a label map, such as VOC's test images.

    Raises
    ------
    InputError
        If the folder has another layout, or the list is empty, names an image twice, or names a missing one.
    """
    root = Path(root)
    listing = Path(name) if name.endswith(".txt") else root / "ImageSets" / "Segmentation" / f"{name}.txt"
    if not listing.is_file():
        raise InputError(
            f"{listing}: expected a text file with one image name per line; "
            f"lists of {root}: {', '.join(list_names(root)) or 'none found, is it a VOC 2012 folder?'}"
        )
    labels = _label_folder(root) if unlabeled else label_folder(root)
    samples = []
    for stem in read_names(listing, image_name):
        image, label = root / "JPEGImages" / f"{stem}.jpg", labels / f"{stem}.png" if labels is not None else None
        if unlabeled and label is not None and not _is_file(label):
            label = None
        for path in (image, label):
            if path is not None and not _is_file(path):
                raise InputError(
                    f"{path!s:.400}: no such file, although {listing} names it; remove it from the list or add the file"
                )
        samples.append(Sample(stem, image, label))
    return image_list(listing.stem, samples)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a line that is too long for a file name
        return False

"""PASCAL VOC 2012 as it lies on disk."""

import os
from pathlib import Path, PurePosixPath

from ..errors import InputError
from ..labelmap.color_table import ColorTable
from .folder_dataset import read_names
from .samples import ImageList, Sample, image_list

# Images in PASCAL VOC 2012's lists and in those with the masks of Hariharan et al. 2011 (Chen et al. 2015, section 5).
LIST_SIZES = {"train": 1464, "val": 1449, "trainval": 2913, "test": 1456, "train_aug": 10582, "trainval_aug": 12031}


def label_folder(root: str | os.PathLike[str]) -> Path:
    """Return `SegmentationClassAug`, or `SegmentationClass` where that is not there; InputError without either."""
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
    """Return the names of the list to train on, train_aug if it is there, and of the list to score on."""
    return "train_aug" if "train_aug" in list_names(root) else "train", "val"


def image_name(line: str) -> str:
    """Return which image a line of a list means.

    Lines hold names, names of photos, or a photo and its label map as in the lists of the paper's authors.

    Examples
    --------
    >>> image_name("/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png")
    '2007_000032'
    """
    photo, *label = map(PurePosixPath, line.split())
    if photo.suffix == ".jpg" and [path.name for path in label] in ([], [f"{photo.stem}.png"]):
        return photo.stem
    return line


def read_list(
    root: str | os.PathLike[str],
    name: str,
    *,
    colors: ColorTable | None = None,
    classes: int | None = None,
    unlabeled: bool = False,
) -> ImageList:
    """Read a list of a VOC 2012 folder.

    Parameters
    ----------
    root : path
        The folder that holds `JPEGImages`, `SegmentationClassAug` (or `SegmentationClass`) and
        `ImageSets/Segmentation`.
    name : str
        List name without ".txt", or the path of a text file with an image a line, as `image_name` reads it.
    colors : ColorTable, optional
        Given if the label maps are drawn in colors.
    classes : int, optional
        How many there are.
    unlabeled : bool
        Take images without a label map too, as VOC's test images are.

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
    labels = _label_folder(root) if unlabeled else label_folder(root)
    samples = []
    for stem in read_names(listing, image_name):
        photo, label = root / "JPEGImages" / f"{stem}.jpg", labels / f"{stem}.png" if labels is not None else None
        if unlabeled and label is not None and not _is_file(label):
            label = None
        for path in (photo, label):
            if path is not None and not _is_file(path):
                raise InputError(f"{path!s:.400}: named by {listing}, but no such file; take it off the list or add it")
        samples.append(Sample(stem, photo, label, colors, classes))
    return image_list(listing.stem, samples)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a line that is longer than a file's name may be
        return False

"""A folder of labeled photos, whichever way it is laid out."""

import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..labelmap import voc_palette
from ..labelmap.color_table import ColorTable, read_color_table
from . import folder_dataset as folders
from . import voc
from .folder_dataset import entries, read_classes
from .metadata import VOC_CLASSES
from .samples import ImageList

# Each knows the lists of its layout: list_names, default_lists and read_list.
_LAYOUTS: dict[str, ModuleType] = {"voc": voc, "folders": folders}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labeled photos, their classes and their lists.

    Attributes
    ----------
    root : Path
    classes : tuple of str
        Names by label id.
    palette : (C, 3) uint8
        The color to draw each class in.
    layout : "voc" or "folders"
    colors : ColorTable or None
        Given if the label maps are drawn in colors.
    """

    root: Path
    classes: tuple[str, ...]
    palette: NDArray[np.uint8]
    layout: Literal["voc", "folders"]
    colors: ColorTable | None = None

    def lists(self) -> tuple[str, ...]:
        """Return the names of the lists of images."""
        names: tuple[str, ...] = _LAYOUTS[self.layout].list_names(self.root)
        return names

    def read(self, name: str, *, unlabeled: bool = False) -> ImageList:
        """Read a list; for the names and the errors see `voc.read_list` and `folders.read_list`."""
        samples: ImageList = _LAYOUTS[self.layout].read_list(
            self.root, name, colors=self.colors, classes=len(self.classes), unlabeled=unlabeled
        )
        return samples

    @property
    def default_training_list(self) -> str:
        """Of VOC train_aug, or train where that is not there; else train."""
        name: str = _LAYOUTS[self.layout].default_lists(self.root)[0]
        return name

    @property
    def default_evaluation_list(self) -> str:
        """Always val, which is not there in every folder."""
        name: str = _LAYOUTS[self.layout].default_lists(self.root)[1]
        return name


def open_dataset(
    root: str | os.PathLike[str],
    *,
    classes: str | os.PathLike[str] | None = None,
    colors: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Recognize a data set by the folders in it.

    Parameters
    ----------
    root : path
        A PASCAL VOC folder (`JPEGImages`, `SegmentationClassAug` or `SegmentationClass`, `ImageSets`), or one of
        own data (`images`, `labels`).
    classes : path, optional
        Class list, a name a line; `classes.txt` of the folder if left out, else VOC's 21 classes (VOC's layout) or
        those of the color table.
    colors : path, optional
        Color table (see `palette.color_table`) of label maps that are drawn in colors; `colors.txt` of the folder
        if left out. Without either, label maps hold ids.

    Raises
    ------
    InputError
        If the folder is laid out otherwise, or its classes are not told.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; expected a data set")
    layout = _layout(root)
    class_list = _given_or_there(classes, root / "classes.txt")
    table_file = _given_or_there(colors, root / "colors.txt")
    names = read_classes(class_list) if class_list else VOC_CLASSES if layout == "voc" else None
    if table_file is not None:
        table, names = read_color_table(table_file, names)
        return Dataset(root, names, table.palette(len(names)), layout, table)
    if names is None:
        raise InputError(f"{root / 'classes.txt'}: no such file; expected the class names, one a line, id 0 first")
    return Dataset(root, names, voc_palette(len(names)), layout)


def _layout(root: Path) -> Literal["voc", "folders"]:
    if (root / "JPEGImages").is_dir():
        return "voc"
    if (root / "images").is_dir() and (root / "labels").is_dir():
        return "folders"
    found = ", ".join([p.name for p in entries(root) if p.is_dir()][:8])
    raise InputError(
        f"{root}: expected the folders images and labels, or JPEGImages, SegmentationClass and ImageSets (PASCAL VOC);"
        f" got {found or 'no folder'}"
    )


def _given_or_there(given: str | os.PathLike[str] | None, usual: Path) -> Path | None:
    if given is not None:
        return Path(given)
    return usual if usual.is_file() else None

"""Folder layouts of data sets: PASCAL VOC's, `images/` and `labels/`, and those of annotation tools."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import InputError, as_input_error

_SPLITS = {"train": "train", "valid": "val", "test": "test"}  # folders of Roboflow's exports, and their lists
_PAIRS = (("images", "labels"), ("img", "masks_machine"))  # own data; Supervisely's exports
_LABELS_ELSEWHERE = ("masks", "annotations")
_VOC_LABELS = "SegmentationClassAug", "SegmentationClass", "SegmentationClassPNG"
_CLASS_LISTS = "classes.txt", "class_names.txt"
_SPLIT_CLASSES = "_classes.csv"  # in each folder of Roboflow's exports
_COLOR_TABLES = (
    *("colors.txt", "labelmap.txt"),
    *("obj_class_to_machine_color.json", "../obj_class_to_machine_color.json"),
)


@dataclass(frozen=True)
class Layout:
    """Files and folders of a data set.

    Attributes
    ----------
    root : Path
    name : "voc", "folders" or "splits"
    images, labels : tuple of Path
        Folders of the images and of their label maps.
    lists : Path
        Folder of the list files.
    split_folders : dict of str to Path
        Folders of images that are lists.
    mask_ending : str
        Ending of the label maps' names, before the suffix.
    """

    root: Path
    name: Literal["voc", "folders", "splits"]
    images: tuple[Path, ...]
    labels: tuple[Path, ...]
    lists: Path
    split_folders: dict[str, Path]
    mask_ending: str = ""

    @property
    def class_list(self) -> Path | None:
        """Return the class list of the folder: `classes.txt`, or that of labelme2voc or Roboflow."""
        named = next((self.root / name for name in _CLASS_LISTS if (self.root / name).is_file()), None)
        return named or next(iter(self.split_classes), None)

    @property
    def split_classes(self) -> tuple[Path, ...]:
        """Return the class lists of the split folders. A folder without one has the classes of the others."""
        files = (folder / _SPLIT_CLASSES for folder in self.split_folders.values())
        return tuple(file for file in files if file.is_file())

    @property
    def color_table(self) -> Path | None:
        """Return the color table of the folder: `colors.txt`, or that of CVAT or Supervisely."""
        here = _COLOR_TABLES if self.images[0].name == "img" else _COLOR_TABLES[:2]
        return next((self.root / name for name in here if (self.root / name).is_file()), None)


def is_png(path: Path) -> bool:
    """Return whether a file name ends in .png or .PNG."""
    return path.suffix.lower() == ".png"


def entries(folder: Path) -> list[Path]:
    """Return the sorted paths in a folder."""
    with as_input_error(folder, "read"):
        return sorted(folder.iterdir())


def find_layout(root: Path) -> Layout | None:
    """Return the layout of a folder; None if it is no data set."""
    if (root / "JPEGImages").is_dir():
        found = [folder for name in _VOC_LABELS if (folder := root / name).is_dir()]
        # labelme2voc has .npy files in SegmentationClass.
        labels = [folder for folder in found if any(is_png(path) for path in folder.iterdir())] or found
        return Layout(root, "voc", (root / "JPEGImages",), tuple(labels[:1]), root / "ImageSets" / "Segmentation", {})
    for images, masks in _PAIRS:
        if (root / images).is_dir() and (root / masks).is_dir():
            return Layout(root, "folders", (root / images,), (root / masks,), root / "lists", {})
    splits = {name: root / folder for folder, name in _SPLITS.items() if (root / folder).is_dir()}
    if any((folder / _SPLIT_CLASSES).is_file() for folder in splits.values()):
        folders = tuple(splits.values())
        return Layout(root, "splits", folders, folders, root / "lists", splits, mask_ending="_mask")
    return None


def layout_of(root: Path) -> Layout:
    """Return the layout of a data set; raise InputError if the folder is none."""
    layout = find_layout(root)
    if layout is None:
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; expected a data set")
        found = [path.name for path in entries(root) if path.is_dir()]
        inner = next((name for name in found if find_layout(root / name) is not None), None)
        other = next((name for name in _LABELS_ELSEWHERE if name in found and "images" in found), None)
        remedy = f"; rename {root / other} to labels" if other else f"; use {root / inner}" if inner else ""
        raise InputError(
            f"{root}: expected the folders images and labels, or JPEGImages, SegmentationClass and ImageSets (PASCAL"
            f" VOC); got {', '.join(found[:8]) or 'no folder'}{remedy}"
        )
    return layout

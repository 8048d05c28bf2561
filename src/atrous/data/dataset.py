"""Data sets of labeled images in any supported folder layout."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from ..image_io.decode import IMAGE_SUFFIXES, read_image
from ..labelmap import VOID, voc_palette
from ..labelmap.class_names import is_void
from ..labelmap.color_table import ColorTable, read_color_table
from ..labelmap.png import made_here
from . import folder_dataset as folders
from .folder_dataset import read_classes
from .layout import find_layout, layout_of
from .metadata import VOC_CLASSES
from .samples import ImageList, Sample, image_list

# Names of VOC's images, such as 2007_000032.
_VOC_IMAGE = re.compile(r"\d{4}_\d{6}")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labeled images, their classes and their lists.

    Attributes
    ----------
    root : Path
    classes : tuple of str
        Names by label id.
    palette : (C, 3) uint8
        Color of each class in overlays and masks.
    layout : "voc", "folders" or "splits"
    colors : ColorTable or None
        Color table of label maps that are drawn in colors; None for label maps of ids.
    void : tuple of int
        Ids in label maps that mean void, besides 255.
    notes : tuple of str
        Assumptions to report to the user.
    """

    root: Path
    classes: tuple[str, ...]
    palette: NDArray[np.uint8]
    layout: Literal["voc", "folders", "splits"]
    colors: ColorTable | None = None
    void: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def lists(self) -> tuple[str, ...]:
        """Return the names of the lists of images."""
        return folders.list_names(layout_of(self.root))

    def has_list_file(self, name: str) -> bool:
        """Return whether the data set has a file or folder for a list, so that it is no split by a hash."""
        return name in folders.list_files(layout_of(self.root))

    def read(self, name: str, *, unlabeled: bool = False) -> ImageList:
        """Read a list. See `folder_dataset.read_list` for the names and errors."""
        listed = folders.read_list(self.root, name, unlabeled=unlabeled)
        return replace(listed, samples=tuple(self.labeled(listed.samples)))

    def labeled(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """Yield samples with the meaning of the label maps of this data set."""
        for sample in samples:
            yield replace(sample, colors=self.colors, classes=len(self.classes), void=self.void, names=self.classes)

    @property
    def default_training_list(self) -> str:
        """Return train_aug of a VOC folder if it exists, else train."""
        return folders.training_list(folders.list_files(layout_of(self.root)))

    @property
    def default_evaluation_list(self) -> str:
        """Return val, which does not exist in every folder."""
        return folders.EVALUATION_LIST


def open_dataset(
    root: str | os.PathLike[str],
    *,
    classes: str | os.PathLike[str] | None = None,
    colors: str | os.PathLike[str] | None = None,
    void: Sequence[int] = (),
) -> Dataset:
    """Open a data set; detect its layout from its folders.

    Parameters
    ----------
    root : path
        A PASCAL VOC folder (`JPEGImages`, `SegmentationClassAug` or `SegmentationClass`, `ImageSets`), a folder with
        `images` and `labels`, or an export of labelme2voc, CVAT, Roboflow or Supervisely.
    classes : path, optional
        Class list, one name per line. Default: that of the folder if it exists, else those of the color table, or
        VOC's 21 classes (VOC layout). Names that mean void (`void`, `unlabeled`, `ignore`) are no classes.
    colors : path, optional
        Color table (see `palette.color_table`) of label maps that are drawn in colors. Default: that of the folder
        if it exists; otherwise label maps contain ids.
    void : sequence of int
        Ids of label maps that mean void, besides 255 and those that the class list names so. 255 among them permits
        label maps of two classes that contain only 0 and 255.

    Raises
    ------
    InputError
        If the folder has another layout, or its classes are unknown.
    """
    root = Path(root)
    layout, given = layout_of(root), bool(void)
    class_list = Path(classes) if classes is not None else layout.class_list
    table_file = Path(colors) if colors is not None else layout.color_table
    names, notes = read_classes(class_list) if class_list else None, []
    _check_splits(layout.split_classes)
    if names is None and table_file is None and layout.name == "voc":
        names = VOC_CLASSES
        if not all(_VOC_IMAGE.fullmatch(path.stem) for path in folders.image_files(layout)):
            notes.append(
                f"{root / 'classes.txt'}: no class list, so the {len(names)} classes of PASCAL VOC are assumed"
            )
    if any(not 0 <= label <= VOID for label in void):
        raise InputError(f"void: expected ids from 0 to {VOID}, got {list(void)}")
    if names is not None:
        names, void = _without_void(names, void, class_list or f"{root}: VOC's classes")
    if table_file is not None:
        if given:
            raise InputError(f"void={void[0]}: expected no ids with the color table {table_file}; name its color void")
        table, names = read_color_table(table_file, names)
        return Dataset(root, names, table.palette(len(names)), layout.name, table)
    if names is None:
        raise InputError(f"{root / 'classes.txt'}: no such file; expected class names, one per line, id 0 first")
    return Dataset(root, names, voc_palette(len(names)), layout.name, void=tuple(void), notes=tuple(notes))


def _check_splits(class_lists: Sequence[Path]) -> None:
    """Raise InputError if the class lists of Roboflow's split folders differ."""
    if not class_lists:
        return
    first = read_classes(class_lists[0])
    for other in class_lists[1:]:
        for label, (expected, got) in enumerate(zip_longest(read_classes(other), first, fillvalue="missing")):
            if got != expected:
                raise InputError(
                    f"{class_lists[0]}: expected the classes of {other}, where id {label} is {expected}, got {got};"
                    " export all splits with the same classes"
                )


def _without_void(
    names: tuple[str, ...], void: Sequence[int], source: str | Path
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the classes of a list, and all ids that mean void."""
    for label in void:
        if label < len(names) and not is_void(names[label]):
            raise InputError(
                f"void={label}: expected an id that is no class, got that of {names[label]!r} ({source}, line"
                f" {label + 1}); if id {label} is void, write 'void' in that line, or insert it before"
            )
    classes = tuple(name for name in names if not is_void(name))
    if len(classes) < 2:
        raise InputError(f"{source}: expected at least 2 classes that are not void, got {len(classes)}")
    return classes, tuple(sorted({*void, *(label for label, name in enumerate(names) if is_void(name))}))


@dataclass(frozen=True)
class Choice:
    """Selected images, with their label maps if they come from a data set.

    Attributes
    ----------
    images : ImageList
    classes : tuple of str or None
        The data set's classes; None for a plain image or folder of images.
    """

    images: ImageList
    classes: tuple[str, ...] | None = None

    def some(self, count: int) -> tuple[ImageList, ImageList]:
        """Split into (`count` evenly spaced images, the rest); (all, none) if there are no more than `count`."""
        if count >= len(self.images):
            return self.images, image_list(self.images.name, ())
        rest, held = self.images.hold_out(count)
        return held, rest


def choose_photos(
    path: str | os.PathLike[str],
    listed: str | None = None,
    *,
    classes: str | os.PathLike[str] | None = None,
    training: bool = False,
) -> Choice:
    """Return images from a file, a folder or a data set.

    Parameters
    ----------
    path : path
        An image, a folder of images (with subfolders, without outputs of this package), or a data set that
        `open_dataset` accepts.
    listed : str, optional
        List of a data set. Default: its training or evaluation list.
    classes : path, optional
        Class list of a data set.
    training : bool
        Whether the default is the training list.

    Raises
    ------
    InputError
        If there are no images, or `listed` or `classes` is given without a data set.
    """
    path = Path(path)
    if path.is_dir() and find_layout(path) is not None:
        dataset = open_dataset(path, classes=classes)
        usual = dataset.default_training_list if training else dataset.default_evaluation_list
        return Choice(dataset.read(listed or usual), dataset.classes)
    if listed is not None or classes is not None:
        raise InputError(f"{path}: expected a data set for a list or classes, got images; use neither")
    if path.is_file():
        return Choice(image_list(path.name, [Sample(path.name, path, None)]))
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; expected images or a data set")
    found = sorted(file for file in files_below(path, _refuse) if _is_image(file))
    if not found:
        raise InputError(f"{path}: expected images in this folder, found none of {', '.join(sorted(IMAGE_SUFFIXES))}")
    return Choice(image_list(path.name, [Sample(p.relative_to(path).as_posix(), p, None) for p in found]))


def read_at_most(path: str | os.PathLike[str], side: int) -> NDArray[np.uint8]:
    """Read an image and scale it down so that its longer side is at most `side` pixels, like the segmenter.

    Returns
    -------
    (H, W, 3) uint8
        RGB.
    """
    image = read_image(path)
    height, width, _ = image.shape
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def files_below(folder: Path, unreadable: Callable[[OSError], None], *, links: bool = False) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders, except hidden ones. Links to folders are not followed.

    Parameters
    ----------
    folder : Path
    unreadable : callable
        Called with the error of each folder that cannot be listed.
    links : bool
        Whether to yield the links to folders, too.
    """
    for parent, inner, names in os.walk(folder, onerror=unreadable):
        inner[:] = [name for name in inner if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))
        if links:
            yield from (path for path in (Path(parent, name) for name in inner) if path.is_symlink())


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read ({error.strerror or error})")


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not made_here(path)

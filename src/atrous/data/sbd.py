"""Conversion of the Semantic Boundaries Dataset (SBD) to the label maps and lists of the paper.

Hariharan et al. (ICCV 2011) labeled 11,355 images of PASCAL VOC. The paper's train_aug contains all of them and VOC's
own training images, without VOC's val: 10,582 images; trainval_aug includes val: 12,031. If both data sets labeled an
image, VOC's label map is used, which is more precise and has a void border.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._io import replacing, write_text
from .._parallel import map_ordered
from ..errors import InputError, as_input_error
from ..image_io.decode import stored_size
from ..labelmap import VOID, write_labels
from ._matlab import read_field
from .folder_dataset import read_names
from .layout import entries
from .metadata import VOC_CLASSES
from .samples import wrong_size

# Sizes of PASCAL VOC 2012's lists and of those with the masks of Hariharan et al. 2011 (Chen et al. 2015, section 5).
LIST_SIZES = {"train": 1464, "val": 1449, "trainval": 2913, "test": 1456, "train_aug": 10582, "trainval_aug": 12031}

_LISTS = Path("ImageSets", "Segmentation")
_MASKS = "SegmentationClassAug"


@dataclass(frozen=True)
class Merged:
    """Result of `merge_sbd`.

    Attributes
    ----------
    lists : dict of str to int
        Length of each list.
    written, existing : int
        Number of masks written, and of masks that existed before.
    skipped : tuple of str
        Listed images without mask or image file.
    """

    lists: dict[str, int]
    written: int
    existing: int
    skipped: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """Source files of an image and its mask."""

    name: str
    image: Path
    mask: Path


def read_mat(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read the labels of an SBD file `cls/NAME.mat`, (H, W) uint8.

    Raises
    ------
    InputError
        If the file is damaged, or not a MATLAB file with the struct GTcls and its field Segmentation of ids 0 to 20.
    """
    try:
        found = read_field(Path(path).read_bytes(), "GTcls", "Segmentation")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected a MATLAB file with the struct GTcls and its field Segmentation ({error});"
            " unpack SBD's release again"
        ) from None
    with np.errstate(invalid="ignore"):  # invalid values such as NaN
        labels = found.astype(np.uint8)
    exact = labels.ndim == 2 and labels.size > 0 and np.array_equal(labels, found)
    if not exact or ((labels >= len(VOC_CLASSES)) & (labels != VOID)).any():
        raise InputError(f"{path}: expected GTcls.Segmentation with ids 0 to 20 (H, W); unpack SBD's release again")
    return labels


def merge_sbd(
    sbd: str | os.PathLike[str],
    voc: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    threads: int | None = None,
    done: Callable[[int, int], None] = lambda _done, _total: None,
) -> Merged:
    """Create a VOC folder with SBD's masks and the lists train_aug and trainval_aug.

    Existing masks are not replaced, so that the same call resumes an interrupted run. The lists are written last.

    Parameters
    ----------
    sbd : path
        SBD's release, or its folder `dataset`, with `cls`, `train.txt` and `val.txt`. Missing images are skipped.
    voc : path
        PASCAL VOC 2012 with `SegmentationClass`.
    out : path
        May be `voc` itself. In another folder, images are hard-linked, or copied if that is not possible.
    threads : int, optional
        Default: the number of processors.
    done : callable
        Called with the number of finished images and the total.

    Raises
    ------
    InputError
        If a folder has another layout, a file cannot be read or written, or a mask and its image differ in size.
    """
    sbd, voc, out = _release(Path(sbd)), Path(voc), Path(out)
    for folder in (_LISTS, Path("SegmentationClass")):
        if not (voc / folder).is_dir():
            raise InputError(f"{voc}: expected the folder VOC2012 of PASCAL VOC 2012, found no {folder} in it")
    extra = _names(sbd / "train.txt") | _names(sbd / "val.txt")
    train, val = (_names(voc / _LISTS / f"{name}.txt") for name in ("train", "val"))
    if both := sorted(train & val):
        raise InputError(
            f"{voc / _LISTS}: expected disjoint train.txt and val.txt, got {both[0]} in both; unpack VOC 2012 again"
        )
    sources = _sources(sorted(extra | train | val), sbd, voc)
    if not sources:
        raise InputError(
            f"{voc}: expected listed images with image file and mask, found none; unpack SBD and VOC again"
        )

    _make_folders(out)
    results = []
    for made in map_ordered(lambda source: _attempt(source, out), sources.values(), threads):
        results.append(made)
        done(len(results), len(sources))
    if failed := [made for made in results if isinstance(made, InputError)]:
        more = f" (and {len(failed) - 1} more such files)" if len(failed) > 1 else ""
        raise InputError(f"{failed[0]}{more}; run the same command again to resume")

    available = sources.keys()
    lists = {
        "train": train & available,
        "val": val & available,
        "trainval": (train | val) & available,
        "train_aug": ((extra | train) - val) & available,
        "trainval_aug": (extra | train | val) & available,
    }
    in_place = out.samefile(voc)
    for name, images in lists.items():
        _write_list(out / _LISTS / f"{name}.txt", images, is_voc=in_place and not name.endswith("_aug"))
    return Merged(
        {name: len(images) for name, images in lists.items()},
        written=sum(made is True for made in results),
        existing=sum(made is False for made in results),
        skipped=tuple(sorted((extra | train | val) - available)),
    )


def _release(folder: Path) -> Path:
    for dataset in (folder, folder / "dataset", folder / "benchmark_RELEASE" / "dataset"):
        if (dataset / "cls").is_dir():
            return dataset
    raise InputError(f"{folder}: expected SBD's release, with a folder cls of .mat files in it or in its dataset/")


def _names(path: Path) -> set[str]:
    names = read_names(path)
    if wrong := [name for name in names if "/" in name or "\\" in name]:
        raise InputError(f"{path}: expected one image name per line, got {wrong[0]!r:.60}")
    return set(names)


def _sources(names: list[str], sbd: Path, voc: Path) -> dict[str, _Source]:
    """Return each image's files, with VOC's mask if it exists, else SBD's; skip images that lack a file."""
    images, masks = (
        {path.stem: path for folder in folders if folder.is_dir() for path in entries(folder) if path.suffix == suffix}
        for folders, suffix in (
            ((sbd / "img", voc / "JPEGImages"), ".jpg"),
            ((voc / "SegmentationClass",), ".png"),
        )
    )
    masks = {path.stem: path for path in entries(sbd / "cls") if path.suffix == ".mat"} | masks
    return {name: _Source(name, images[name], masks[name]) for name in names if name in images and name in masks}


def _make_folders(out: Path) -> None:
    with as_input_error(out, "created"):
        for folder in (_MASKS, "JPEGImages", _LISTS):
            (out / folder).mkdir(parents=True, exist_ok=True)


def _attempt(source: _Source, out: Path) -> bool | InputError:
    try:
        with as_input_error(out, "read or written"):
            return _make(source, out)
    except InputError as error:
        return error


def _make(source: _Source, out: Path) -> bool:
    """Create an image's link and mask; return whether the mask was written."""
    image, mask = out / "JPEGImages" / f"{source.name}.jpg", out / _MASKS / f"{source.name}.png"
    if not image.exists():
        try:
            os.link(source.image.resolve(), image)
        except OSError:  # another file system, or one without hard links
            _copy(source.image, image)
    if mask.exists():
        return False
    if source.mask.suffix == ".png":
        _copy(source.mask, mask)
        return True
    labels = read_mat(source.mask)
    width, height = stored_size(source.image)
    if (wrong := wrong_size(labels, source.image, (height, width))) is not None:
        raise InputError(f"{source.mask}: {wrong}; unpack SBD and VOC again")
    write_labels(mask, labels)
    return True


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _write_list(path: Path, names: set[str], *, is_voc: bool) -> None:
    """Write a list; leave VOC's own list unchanged if it also names images that are missing."""
    if not names:
        return
    if path.exists():
        known = set(read_names(path))
        if known == names or (is_voc and known > names):
            return  # in any order
        if more := sorted(known - names):
            raise InputError(
                f"{path}: expected images with masks, got {more[0]!r:.60} ({len(more)} such names); move the list away"
            )
    with as_input_error(path):
        write_text(path, "".join(f"{name}\n" for name in sorted(names)))

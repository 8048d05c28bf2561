"""From the Semantic Boundaries Dataset's release to the masks and lists that the paper trained on.

Hariharan et al. (ICCV 2011) labeled 11,355 images of PASCAL VOC. The paper's train_aug is all of them and VOC's own
training images, without those of VOC's val: 10,582; with val trainval_aug, 12,031. Where both labeled an image,
VOC's mask is taken, which is finer and has a void border.
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
from ..errors import InputError
from ..image_io.decode import stored_size
from ..labelmap import write_labels
from ._matlab import read_field
from .folder_dataset import entries, read_names
from .metadata import VOC_CLASSES
from .samples import first_beyond

_LISTS = Path("ImageSets", "Segmentation")
_MASKS = "SegmentationClassAug"


@dataclass(frozen=True)
class Merged:
    """What `merge_sbd` did.

    Attributes
    ----------
    lists : dict of str to int
        Length of each list written.
    written, kept : int
        Masks that were written, and that had been there.
    left_out : tuple of str
        Images on a list of SBD or VOC whose mask or photo is not there.
    """

    lists: dict[str, int]
    written: int
    kept: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """Where an image's photo and mask are taken from."""

    name: str
    photo: Path
    mask: Path


def read_mat(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read the labels of an SBD file `cls/NAME.mat`, (H, W) uint8.

    Raises
    ------
    InputError
        The file is damaged, or is no MATLAB file with the struct GTcls and its field Segmentation of ids 0 to 20.
    """
    try:
        found = read_field(Path(path).read_bytes(), "GTcls", "Segmentation")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected a MATLAB file with the struct GTcls and its field Segmentation ({error});"
            " unpack SBD's release again"
        ) from None
    with np.errstate(invalid="ignore"):  # of what is no id, NaN, say
        labels = found.astype(np.uint8)
    exact = labels.ndim == 2 and labels.size > 0 and np.array_equal(labels, found)
    if not exact or first_beyond(labels, len(VOC_CLASSES)) is not None:
        raise InputError(f"{path}: expected GTcls.Segmentation to hold ids 0 to 20 (H, W); unpack SBD's release again")
    return labels


def merge_sbd(
    sbd: str | os.PathLike[str],
    voc: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    threads: int | None = None,
    done: Callable[[int, int], None] = lambda _done, _total: None,
) -> Merged:
    """Make a VOC folder with SBD's masks and the lists train_aug and trainval_aug.

    Masks that are there already are kept, so a run that was stopped is gone on with. Lists are written last.

    Parameters
    ----------
    sbd : path
        SBD's release, or its folder `dataset`, with `cls`, `train.txt` and `val.txt` in it; a part of it will do.
    voc : path
        PASCAL VOC 2012 with `SegmentationClass`.
    out : path
        May be `voc` itself. Elsewhere photos are linked (hard links), or copied where that cannot be.
    threads : int, optional
    done : callable
        Told how many images are ready, and of how many.

    Raises
    ------
    InputError
        A folder is laid out otherwise, a file cannot be read or written, or a mask does not fit its photo.
    """
    sbd, voc, out = _release(Path(sbd)), Path(voc), Path(out)
    for folder in (_LISTS, Path("SegmentationClass")):
        if not (voc / folder).is_dir():
            raise InputError(f"--voc {voc}: there is no {folder} in it; expected the folder VOC2012 of PASCAL VOC 2012")
    extra = _names(sbd / "train.txt") | _names(sbd / "val.txt")
    train, val = (_names(voc / _LISTS / f"{name}.txt") for name in ("train", "val"))
    if both := sorted(train & val):
        raise InputError(f"{voc / _LISTS}: train.txt and val.txt share {both[0]}; unpack VOC 2012 again")
    sources = _sources(sorted(extra | train | val), sbd, voc)
    if not sources:
        raise InputError(f"{voc}: none of the listed images has both its photo and its mask; unpack SBD and VOC again")

    _make_folders(out)
    results = []
    for made in map_ordered(lambda source: _attempt(source, out), sources.values(), threads):
        results.append(made)
        done(len(results), len(sources))
    if failed := [made for made in results if isinstance(made, InputError)]:
        more = f" (and {len(failed) - 1} more such files)" if len(failed) > 1 else ""
        raise InputError(f"{failed[0]}{more}; the same command goes on from here")

    there = sources.keys()
    lists = {
        "train": train & there,
        "val": val & there,
        "trainval": (train | val) & there,
        "train_aug": ((extra | train) - val) & there,
        "trainval_aug": (extra | train | val) & there,
    }
    in_place = out.samefile(voc)
    for name, images in lists.items():
        if not (in_place and name in ("train", "val")):  # VOC's own, which may name what is not there
            _write_list(out / _LISTS / f"{name}.txt", images)
    return Merged(
        {name: len(images) for name, images in lists.items()},
        written=sum(made is True for made in results),
        kept=sum(made is False for made in results),
        left_out=tuple(sorted((extra | train | val) - there)),
    )


def _release(folder: Path) -> Path:
    for dataset in (folder, folder / "dataset", folder / "benchmark_RELEASE" / "dataset"):
        if (dataset / "cls").is_dir():
            return dataset
    raise InputError(f"{folder}: expected SBD's release, with the folder cls of .mat files in it or in its dataset/")


def _names(path: Path) -> set[str]:
    names = read_names(path)
    if wrong := [name for name in names if "/" in name or "\\" in name]:
        raise InputError(f"{path}: names {wrong[0]!r:.60}; expected one image name per line")
    return set(names)


def _sources(names: list[str], sbd: Path, voc: Path) -> dict[str, _Source]:
    """Find each image's photo and mask, VOC's before SBD's; images that lack one are left out."""
    photos, masks = (
        {path.stem: path for folder in folders if folder.is_dir() for path in entries(folder) if path.suffix == suffix}
        for folders, suffix in (
            ((sbd / "img", voc / "JPEGImages"), ".jpg"),
            ((voc / "SegmentationClass",), ".png"),
        )
    )
    masks = {path.stem: path for path in entries(sbd / "cls") if path.suffix == ".mat"} | masks
    return {name: _Source(name, photos[name], masks[name]) for name in names if name in photos and name in masks}


def _make_folders(out: Path) -> None:
    try:
        for folder in (_MASKS, "JPEGImages", _LISTS):
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{error.filename or out}: cannot be made ({error.strerror or error})") from None


def _attempt(source: _Source, out: Path) -> bool | InputError:
    try:
        return _make(source, out)
    except InputError as error:
        return error
    except OSError as error:
        return InputError(f"{error.filename or out}: cannot be written ({error.strerror or error})")


def _make(source: _Source, out: Path) -> bool:
    """Put an image's photo and mask in place; return whether the mask had to be made."""
    photo, mask = out / "JPEGImages" / f"{source.name}.jpg", out / _MASKS / f"{source.name}.png"
    if not photo.exists():
        try:
            os.link(source.photo.resolve(), photo)
        except OSError:  # another disk, or one without hard links
            _copy(source.photo, photo)
    if mask.exists():
        return False
    if source.mask.suffix == ".png":
        _copy(source.mask, mask)
        return True
    labels = read_mat(source.mask)
    width, height = stored_size(source.photo)
    if (height, width) != labels.shape:
        raise InputError(
            f"{source.mask}: {labels.shape[1]}x{labels.shape[0]} pixels, but {source.photo} has {width}x{height};"
            " unpack SBD and VOC again"
        )
    write_labels(mask, labels)
    return True


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _write_list(path: Path, names: set[str]) -> None:
    if not names:
        return
    if path.exists():
        known = set(read_names(path))
        if known == names:
            return  # in the order of whoever wrote it
        if more := sorted(known - names):
            raise InputError(
                f"{path}: names {more[0]!r:.60}, without photo and mask here ({len(more)} such); move the list away"
            )
    try:
        write_text(path, "".join(f"{name}\n" for name in sorted(names)))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None

"""PASCAL VOC 2012 as it lies on disk."""

import os
from pathlib import Path

from ..errors import InputError
from .samples import ImageList, Sample, image_list


def read_list(root: str | os.PathLike[str], name: str) -> ImageList:
    """Read a list of a VOC 2012 folder.

    Parameters
    ----------
    root : path
        The folder that holds `JPEGImages`, `SegmentationClassAug` (or `SegmentationClass`) and
        `ImageSets/Segmentation`.
    name : str
        List name without ".txt", or the path of a text file with one image name per line.

    Raises
    ------
    InputError
        If the folder is not laid out as VOC's, or the list names files that are not there.
    """
    root = Path(root)
    listing = Path(name) if name.endswith(".txt") else root / "ImageSets" / "Segmentation" / f"{name}.txt"
    if not listing.is_file():
        raise InputError(
            f"{listing}: expected a text file with one image name per line; "
            f"lists of {root}: {', '.join(_list_names(root)) or 'none found, is it a VOC 2012 folder?'}"
        )
    labels = next((d for d in (root / "SegmentationClassAug", root / "SegmentationClass") if d.is_dir()), None)
    if labels is None:
        raise InputError(f"{root}: expected a folder SegmentationClassAug or SegmentationClass in it, got none")
    names = listing.read_text().split()
    if not names:
        raise InputError(f"{listing}: expected one image name per line, got an empty file")
    samples = tuple(Sample(n, root / "JPEGImages" / f"{n}.jpg", labels / f"{n}.png") for n in names)
    for sample in samples:
        for path in (sample.image, sample.label):
            if path is not None and not path.is_file():
                raise InputError(f"{path}: named by {listing}, but no such file; take it off the list or add it")
    return image_list(listing.stem, samples)


def _list_names(root: Path) -> list[str]:
    return sorted(p.stem for p in (root / "ImageSets" / "Segmentation").glob("*.txt"))

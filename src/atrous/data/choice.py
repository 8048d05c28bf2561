"""Photos that a user names: one, a folder of them or a list of a data set."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from ..labelmap.png import made_here
from .dataset import open_dataset
from .image_io import IMAGE_SUFFIXES, read_image
from .samples import ImageList, Sample, image_list


@dataclass(frozen=True)
class Choice:
    """Photos, with their masks if they come from a data set.

    Attributes
    ----------
    images : ImageList
    classes : tuple of str or None
        The data set's; None of mere photos.
    """

    images: ImageList
    classes: tuple[str, ...] | None = None

    def some(self, count: int) -> tuple[ImageList, ImageList]:
        """Split into (`count` images evenly spaced, the rest); all of them and none if there are not more."""
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
    """Find photos.

    Parameters
    ----------
    path : path
        A photo, a folder of photos (subfolders too, without what this package wrote), or a data set as
        `open_dataset` knows them.
    listed : str, optional
        The data set's list; if left out that for training, or that for evaluation.
    classes : path, optional
        The data set's class list.
    training : bool

    Raises
    ------
    InputError
        If there are no photos, or `listed` or `classes` is given and there is no data set.
    """
    path = Path(path)
    if path.is_dir() and (
        (path / "JPEGImages").is_dir() or ((path / "images").is_dir() and (path / "labels").is_dir())
    ):
        dataset = open_dataset(path, classes=classes)
        usual = dataset.default_training_list if training else dataset.default_evaluation_list
        return Choice(dataset.read(listed or usual), dataset.classes)
    if listed is not None or classes is not None:
        raise InputError(f"{path}: mere photos have no lists and no classes; expected a data set, or neither option")
    if path.is_file():
        return Choice(image_list(path.name, [Sample(path.name, path, None)]))
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder; expected photos or a data set")
    found = sorted(file for file in files_below(path, _refuse) if _is_photo(file))
    if not found:
        raise InputError(f"{path}: no photos in this folder; looked for {', '.join(sorted(IMAGE_SUFFIXES))}")
    return Choice(image_list(path.name, [Sample(p.relative_to(path).as_posix(), p, None) for p in found]))


def read_at_most(path: str | os.PathLike[str], side: int) -> NDArray[np.uint8]:
    """Read a photo and scale it down to `side` pixels at the most, as the segmenter does for its network.

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


def files_below(folder: Path, unreadable: Callable[[OSError], None]) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders without hidden ones; links to folders are not followed.

    Parameters
    ----------
    folder : Path
    unreadable : callable
        Called with the error of each folder whose files cannot be listed.
    """
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read ({error.strerror or error})")


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not made_here(path)

"""Data sets in own folders: `images/`, `labels/` and a class list.

The label map of `images/NAME.jpg` (or another image format) is `labels/NAME.png`. A list is a text file `NAME.txt` with
one image name per line, in `lists/` or beside the folders. A data set without lists is split by a hash of each image's
name, so that new images do not move others between the parts.
"""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Collection, Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path

from .._settings_files import LONGEST_NAME, read_lines
from ..errors import InputError
from ..image_io.decode import IMAGE_SUFFIXES
from .samples import ImageList, Sample, image_list

# Default share of "train" and "val" if there is no list file.
SHARES = {"train": Decimal("0.8"), "val": Decimal("0.2")}
ALL = "all"

_CLASSES_EXPECTED = "one class name per line, id 0 first"


def read_classes(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read a class list: the name of id 0 in the first line, and so on.

    Raises
    ------
    InputError
        If the file cannot be read, a line is empty, a comment or a repetition, or there are not 2 to 255 names.
    """
    names: dict[str, int] = {}
    for number, name in enumerate(read_lines(path, _CLASSES_EXPECTED), 1):
        if not name:
            raise InputError(
                f"{path}: line {number} is empty; expected {_CLASSES_EXPECTED}, as the line number is the id"
            )
        if name.startswith("#"):
            raise InputError(f"{path}: line {number} is a comment; expected {_CLASSES_EXPECTED}")
        if name in names:
            raise InputError(
                f"{path}: line {number} repeats {name!r:.60} of line {names[name]}; expected distinct names"
            )
        if len(name) > LONGEST_NAME:
            raise InputError(f"{path}: line {number} has {len(name)} characters; expected up to {LONGEST_NAME}")
        names[name] = number
    if not 2 <= len(names) <= 255:
        raise InputError(f"{path}: expected 2 to 255 classes, {_CLASSES_EXPECTED}, got {len(names)}")
    return tuple(names)


def read_names(path: str | os.PathLike[str], image: Callable[[str], str] = str) -> tuple[str, ...]:
    """Read a list of images, one per line; empty lines are ignored.

    Parameters
    ----------
    path : path
    image : callable
        Maps a line to an image name. Default: the line itself.

    Raises
    ------
    InputError
        If the file cannot be read, contains no name, or an image twice.
    """
    names: dict[str, int] = {}
    for number, line in enumerate(read_lines(path, "one image name per line"), 1):
        name = image(line) if line else line
        if name in names:
            raise InputError(f"{path}: line {number} repeats {name!r:.60} of line {names[name]}; remove one")
        if name:
            names[name] = number
    return tuple(names)


def find_images(root: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the images in `images/` by name, sorted.

    Raises
    ------
    InputError
        If there are none, or two with the same name.
    """
    images: dict[str, Path] = {}
    for path in image_files(root):
        name = composed(path.stem)
        if name in images:
            raise InputError(f"{path}: expected one image per name, got {images[name].name} beside it; rename one")
        images[name] = path
    if not images:
        raise InputError(f"{Path(root) / 'images'}: expected images (.jpg, .png, ...), found none")
    return images


def image_files(root: str | os.PathLike[str]) -> list[Path]:
    """Return the files in `images/` with the suffix of an image format, sorted, without hidden ones."""
    return [
        path
        for path in entries(Path(root) / "images")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]


def entries(folder: Path) -> list[Path]:
    """Return the sorted paths in a folder."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error})") from None


def composed(name: str) -> str:
    """Return the composed Unicode form of a name. macOS decomposes letters with accents, other systems do not."""
    return unicodedata.normalize("NFC", name)


def list_files(root: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the list files by name: all of `lists/`, and those beside `images/` that contain an image name."""
    root = Path(root)
    found = {path.stem: path for path in sorted((root / "lists").glob("*.txt"))}
    images = {composed(p.stem) for p in image_files(root)}
    for path in sorted(root.glob("*.txt")):
        try:
            lines = read_lines(path, "")
        except InputError:
            continue
        if any(named(line, images) for line in lines):
            if path.stem in found:
                raise InputError(f"{path}: expected one list of this name, got {found[path.stem]} as well; remove one")
            found[path.stem] = path
    return found


def named(line: str, images: Collection[str]) -> str | None:
    """Return the image that a line of a list names, with or without its suffix, or None."""
    line = composed(line)
    if line in images:
        return line
    stem, _, suffix = line.rpartition(".")
    return stem if f".{suffix}".lower() in IMAGE_SUFFIXES and stem in images else None


def list_names(root: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of all lists: "all", list files, and "train" and "val" if there is no file for them."""
    files = list_files(root)
    return tuple(dict.fromkeys((ALL, *(() if files.keys() & SHARES.keys() else SHARES), *files)))


def default_lists(root: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the names of the default training and evaluation lists."""
    return "train", "val"


def read_list(
    root: str | os.PathLike[str],
    name: str,
    *,
    unlabeled: bool = False,
) -> ImageList:
    """Read a list of images.

    Parameters
    ----------
    root : path
        The folder with `images` and `labels`.
    name : str
        Name of a list without ".txt", path of a text file, "all", or a part by hash of each image's name: "val@0.1" is
        a tenth of the images, "train@0.9" the other nine tenths. Without list files, "val" and "train" mean 0.2 and
        0.8.
    unlabeled : bool
        Whether to include images without a label map.

    Raises
    ------
    InputError
        If the list is unknown, empty, names an image twice, or names one without image file or label map.
    """
    root = Path(root)
    images = find_images(root)
    names, source = _names(root, name, images)
    labels = {composed(p.stem): p for p in entries(root / "labels") if p.suffix == ".png"}
    missing = [n for n in names if n not in labels]
    if missing and not unlabeled:
        others = f" (also missing for {len(missing) - 1} others)" if len(missing) > 1 else ""
        raise InputError(
            f"{root / 'labels' / missing[0]}.png: expected the label map of {images[missing[0]]}, no such file{others};"
            f" add it, or remove the image from {source}"
        )
    samples = (Sample(n, images[n], labels.get(n)) for n in names)
    return image_list(Path(name).stem if name.endswith(".txt") else name, samples)


def _names(root: Path, name: str, images: dict[str, Path]) -> tuple[list[str], str]:
    """Return the images of a list, and the name of the list in messages."""
    if name.endswith(".txt"):
        return _names_of_file(Path(name), images), name
    files = list_files(root)
    if name in files:
        return _names_of_file(files[name], images), str(files[name])
    if name == ALL:
        return list(images), f"{root / 'images'}, or write a list of the labeled ones"
    part, at, given = name.partition("@")
    if part not in SHARES or (not at and files.keys() & SHARES.keys()):
        known = ", ".join(list_names(root))
        raise InputError(f"list {name}: expected one of {known} in {root}; add {root / 'lists' / name}.txt")
    try:
        share = Decimal(given) if at else SHARES[part]
        known_share = 0 < share < 1
    except InvalidOperation:  # not a number, or a comparison with "nan"
        known_share = False
    if not known_share:
        raise InputError(f"list {name}: expected a share above 0 and below 1 after @, as in val@0.2")
    names = part_of(images, part, share)
    if not names:
        raise InputError(f"list {name}: expected images, got none of the {len(images)} in {root}; write lists instead")
    return names, f"{root / 'images'}, or write a list of the labeled ones"


def part_of(names: Iterable[str], part: str, share: Decimal) -> list[str]:
    """Return the names in a share of "train" or "val", by a hash of each name."""
    bound = int((share if part == "val" else 1 - share) * 2**64)
    return [name for name in names if (_hash(name) < bound) == (part == "val")]


def _names_of_file(path: Path, images: dict[str, Path]) -> list[str]:
    names = read_names(path, lambda line: named(line, images) or line)
    for name in names:
        if name not in images:
            raise InputError(
                f"{path}: expected names of images in images/, got {name!r:.80}; remove it or add the image"
            )
    return list(names)


def _hash(name: str) -> int:
    """Return a number from 0 to 2^64 - 1 that depends only on the name."""
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8], "big")

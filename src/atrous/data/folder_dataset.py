"""Images, label maps and lists of a data set, in any layout.

The label map of `NAME.jpg` (or another image format) is `NAME.png` or `NAME.jpg.png`. A list is a text file with one
image per line, in the layout's folder of lists or beside the folders. A data set without lists is split by a hash of
each image's name, so that new images do not move others between the parts.
"""

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from itertools import chain
from pathlib import Path, PurePosixPath

from .._settings_files import LONGEST_NAME, read_lines
from ..errors import InputError
from ..image_io.decode import IMAGE_SUFFIXES
from .layout import Layout, entries, is_png, layout_of
from .samples import ImageList, Sample, image_list

# Default share of "train" and "val" if there is no list file.
SHARES = {"train": Decimal("0.8"), "val": Decimal("0.2")}
ALL = "all"
EVALUATION_LIST = "val"

# Other names of the lists "train" and "val", if no list has that name, as in the exports of CVAT and Roboflow.
_OTHER_NAMES = {"training": "train", "validation": "val", "valid": "val"}

_CLASSES_EXPECTED = "one class name per line, id 0 first"


def read_classes(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read a class list: the name of id 0 in the first line, and so on.

    Raises
    ------
    InputError
        If the file cannot be read, a line is empty, a comment or a repetition, or there are not 2 to 255 names.
    """
    names: dict[str, int] = {}
    lines = read_lines(path, _CLASSES_EXPECTED)
    if lines[0].lower().startswith("pixel value"):  # of Roboflow
        lines = _numbered(path, lines[1:])
    elif lines[:2] == ["__ignore__", "_background_"]:  # labelme's list, where ids start at -1
        del lines[0]
    for number, name in enumerate(lines, 1):
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


def _numbered(path: str | os.PathLike[str], lines: list[str]) -> list[str]:
    """Return the names of lines such as `0, background`, in the order of their ids."""
    rows = [line.partition(",")[::2] for line in lines]
    for number, (label, _) in enumerate(rows):
        if label.strip() != str(number):
            raise InputError(f"{path}: expected lines such as '{number}, NAME', got {lines[number]!r:.60}")
    return [name.strip() for _, name in rows]


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


def find_images(layout: Layout) -> dict[str, Path]:
    """Return the images by name, sorted.

    Raises
    ------
    InputError
        If there are none, or two with the same name.
    """
    images: dict[str, Path] = {}
    for path in image_files(layout):
        name = composed(path.stem)
        if name in images:
            raise InputError(f"{path}: expected one image per name, got {images[name]}; rename one")
        images[name] = path
    if not images:
        raise InputError(f"{layout.images[0]}: {no_images(layout)}")
    return images


def no_images(layout: Layout) -> str:
    """Return the message for a data set without images, with a remedy for the folders of YOLO's layout."""
    message = "expected images (.jpg, .png, ...), found none"
    inner = [path.name for path in entries(layout.images[0]) if path.is_dir()]
    if not inner:
        return message
    labels = layout.labels[0].name if layout.labels else "labels"
    return (
        f"{message}, but the folders {', '.join(inner[:4])}; move their files into {layout.images[0].name} and"
        f" {labels}, and write the names of their images into {layout.lists.name}/{inner[0]}.txt and so on"
    )


def image_files(layout: Layout) -> list[Path]:
    """Return the files in the folders of images with the suffix of an image format, without hidden ones."""
    return [
        path
        for folder in layout.images
        for path in entries(folder)
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and not is_mask(path, layout)
    ]


def is_mask(path: Path, layout: Layout) -> bool:
    """Return whether a file is a label map, by the ending of its name, if the layout has one."""
    return bool(layout.mask_ending) and path.stem.endswith(layout.mask_ending)


def label_files(layout: Layout) -> dict[str, Path]:
    """Return the label maps by name."""
    return {
        composed(path.stem.removesuffix(layout.mask_ending)): path
        for folder in layout.labels
        for path in entries(folder)
        if is_png(path) and path.stem.endswith(layout.mask_ending) and not path.name.startswith(".")
    }


def label_of(image: Path, labels: Mapping[str, Path]) -> Path | None:
    """Return the label map of an image: `NAME.png`, or `NAME.jpg.png` for `NAME.jpg`."""
    return labels.get(composed(image.stem)) or labels.get(composed(image.name))


def composed(name: str) -> str:
    """Return the composed Unicode form of a name. macOS decomposes letters with accents, other systems do not."""
    return unicodedata.normalize("NFC", name)


def expected_label(layout: Layout, image: Path) -> Path:
    """Return the usual path of an image's label map."""
    folder = image.parent if layout.mask_ending or not layout.labels else layout.labels[0]
    return folder / f"{image.stem}{layout.mask_ending}.png"


def list_files(layout: Layout) -> dict[str, Path]:
    """Return the list files by name: those in the layout's folder, and those beside the folders.

    A text file beside the folders is a list if it contains an image name, or if its name starts with train or val.
    Names are in lower case; `Training.txt` and `Validation.txt` are the lists "train" and "val" if there are no others.
    """
    paths = sorted(layout.lists.glob("*.txt"))
    found = {} if paths else dict(layout.split_folders)
    if layout.name != "voc" or not paths:
        images = {composed(p.stem) for p in image_files(layout)}
        paths += [path for path in sorted(layout.root.glob("*.txt")) if _is_list(path, images)]
    for path in paths:
        name = path.stem.lower()
        if name in found:
            raise InputError(f"{path}: expected one list of this name, got {found[name]} as well; remove one")
        found[name] = path
    for other, name in _OTHER_NAMES.items():
        if other in found and name not in found:
            found[name] = found.pop(other)
    return found


def unread_lists(layout: Layout) -> list[Path]:
    """Return the text files one or two folders down whose names start with train or val. They are not read as lists."""
    data = {*layout.images, *layout.labels}
    paths = chain(layout.root.glob("*/*.txt"), layout.root.glob("*/*/*.txt"))  # unreadable folders are skipped
    return sorted(path for path in paths if _is_part(path.stem.lower()) and data.isdisjoint(path.parents))


def _is_list(path: Path, images: Collection[str]) -> bool:
    try:
        lines = read_lines(path, "")
    except InputError:
        lines = []
    return _is_part(path.stem.lower()) or any(named(line, images) for line in lines)


def _is_part(name: str) -> bool:
    return name.startswith(tuple(SHARES))


def named(line: str, images: Collection[str]) -> str | None:
    """Return the image that a line of a list names, or None.

    The line is a name, a file name or a path with either slash, alone or followed by the path of the label map.

    Examples
    --------
    >>> named("/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png", {"2007_000032"})
    '2007_000032'
    """
    line = composed(line)
    if line in images:
        return line
    line = line.replace("\\", "/")
    # Where the image's path may end and the label map's start.
    splits = [separator.span() for separator in re.finditer(r"[,;\s]+", line)]
    if not re.search(r"\.\w+[,;\s]", line):  # the name of one file
        splits.append((len(line), len(line)))
    for end, start in splits:
        image, label = PurePosixPath(line[:end]), PurePosixPath(line[start:])
        name = image.stem if image.suffix.lower() in IMAGE_SUFFIXES else image.name
        if name in images and (start == len(line) or label.stem in (name, image.name, f"{name}_mask")):
            return name
    return None


def list_names(layout: Layout) -> tuple[str, ...]:
    """Return the names of all lists: "all", list files, and "train" and "val" if there is no file for either."""
    files = list_files(layout)
    return tuple(dict.fromkeys((*implied_lists(layout, files), *files)))


def implied_lists(layout: Layout, files: Collection[str]) -> tuple[str, ...]:
    """Return the names of the lists that need no file."""
    if any(map(_is_part, files)):
        return () if layout.name == "voc" else (ALL,)
    return ALL, *SHARES


def training_list(files: Collection[str]) -> str:
    """Return the name of the default training list: train_aug if there is a file for it, else train."""
    return "train_aug" if "train_aug" in files else "train"


def read_list(root: str | os.PathLike[str], name: str, *, unlabeled: bool = False) -> ImageList:
    """Read a list of images.

    Parameters
    ----------
    root : path
        The data set.
    name : str
        Name of a list without ".txt" in upper or lower case, path of a text file (also from the root), "all", or a part
        by hash of each image's name: "val@0.1" is a tenth of the images, "train@0.9" the other nine tenths. Without
        list files, "val" and "train" mean 0.2 and 0.8.
    unlabeled : bool
        Whether to include images without a label map, such as VOC's test images.

    Raises
    ------
    InputError
        If the list is unknown, empty, names an image twice, or names one without image file or label map.
    """
    layout = layout_of(Path(root))
    if not layout.labels and not unlabeled:
        raise InputError(f"{root}: expected a folder SegmentationClassAug or SegmentationClass in it, got none")
    images, labels = find_images(layout), label_files(layout)
    if not name.endswith(".txt"):
        name = _listed_as(name, layout)
    maps = {n: label_of(path, labels) for n, path in images.items()}
    # VOC has more images than label maps.
    usual = [n for n in images if maps[n] is not None] if layout.name == "voc" else list(images)
    names, source = _select(layout, name, images, usual)
    missing = [n for n in names if maps[n] is None]
    if missing and not unlabeled:
        others = f" (also missing for {len(missing) - 1} others)" if len(missing) > 1 else ""
        image = images[missing[0]]
        expected = expected_label(layout, image)
        similar = _similar(expected, image, images)
        got = f"got {similar}" if similar else "no such file"
        raise InputError(
            f"{expected}: expected the label map of {image}, {got}{others}; add it, or remove the image from {source}"
        )
    samples = (Sample(n, images[n], maps[n]) for n in names)
    return image_list(Path(name).stem if name.endswith(".txt") else name, samples)


def _similar(expected: Path, image: Path, names: Collection[str]) -> str | None:
    """Return the name of a file beside an expected label map that may be this label map under another name."""
    for path in entries(expected.parent):
        ending = path.stem.removeprefix(image.stem)
        ours = ending == "" or (ending != path.stem and not ending[0].isalnum() and path.stem not in names)
        if ours and path != image:
            return path.name
    return None


def _listed_as(name: str, layout: Layout) -> str:
    """Return the name under which `list_files` has a list."""
    name = name.lower()
    return _OTHER_NAMES.get(name, name) if name not in list_files(layout) else name


def _select(layout: Layout, name: str, images: dict[str, Path], usual: list[str]) -> tuple[list[str], str]:
    """Return the names of a list's images, and how messages call the list; `usual` are the images of "all"."""
    if name.endswith(".txt"):
        path = Path(name)
        if not path.exists() and (inside := layout.root / path).exists():
            path = inside
        return _known_names_in(path, images), str(path)
    files = list_files(layout)
    if name in files:
        return _known_names_in(files[name], images), str(files[name])
    labeled = f"{layout.images[0]}, or write a list of the labeled ones"
    if name == ALL:
        return usual, labeled
    part, at, given = name.partition("@")
    if part not in SHARES or (not at and name not in implied_lists(layout, files)):
        known = ", ".join(list_names(layout))
        raise InputError(f"list {name}: expected one of {known} in {layout.root}; add {layout.lists / name}.txt")
    try:
        share = Decimal(given) if at else SHARES[part]
        known_share = 0 < share < 1
    except InvalidOperation:  # not a number, or a comparison with "nan"
        known_share = False
    if not known_share:
        raise InputError(f"list {name}: expected a share above 0 and below 1 after @, as in val@0.2")
    names = part_of(usual, part, share)
    if not names:
        raise InputError(
            f"list {name}: expected images, got none of the {len(usual)} in {layout.root}; write lists instead"
        )
    return names, labeled


def part_of(names: Iterable[str], part: str, share: Decimal) -> list[str]:
    """Return the names in a share of "train" or "val", by a hash of each name."""
    bound = int((share if part == "val" else 1 - share) * 2**64)
    return [name for name in names if (_hash(name) < bound) == (part == "val")]


def names_in(path: Path, images: Mapping[str, Path]) -> list[str]:
    """Return the names in a list: a text file, in which some may not be names of images, or a folder of images."""
    if path.is_dir():
        return [name for name, image in images.items() if image.parent == path]
    return list(read_names(path, lambda line: named(line, images) or line))


def _known_names_in(path: Path, images: dict[str, Path]) -> list[str]:
    names = names_in(path, images)
    if unknown := [name for name in names if name not in images]:
        folder = next(iter(images.values())).parent
        raise InputError(
            f"{path}: expected names of images in {folder.name}/, got {unknown[0]!r:.80}; remove it or add the image"
        )
    return names


def _hash(name: str) -> int:
    """Return a number from 0 to 2^64 - 1 that depends only on the name."""
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8], "big")

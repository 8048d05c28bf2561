"""Own data: `images/`, `labels/` and a class list.

The label map of `images/NAME.jpg` (or another kind of picture) is `labels/NAME.png`. A list of images is a text file
`NAME.txt` with an image's name a line, in `lists/` or beside the folders. Without lists of its own a data set is
split by a hash of each photo's name, so that photos that are added later move none from one part to the other.
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
from ..labelmap.color_table import ColorTable
from .samples import ImageList, Sample, image_list

# The part of the photos that "train" and "val" hold where no file says otherwise.
SHARES = {"train": Decimal("0.8"), "val": Decimal("0.2")}
ALL = "all"

_CLASSES_EXPECTED = "a class name a line, id 0 first"


def read_classes(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read a class list: the name of id 0 in the first line, and so on.

    Raises
    ------
    InputError
        The file cannot be read, a line is empty, a comment or repeats another, or there are not 2 to 255.
    """
    names: dict[str, int] = {}
    for number, name in enumerate(read_lines(path, _CLASSES_EXPECTED), 1):
        if not name:
            raise InputError(f"{path}: line {number} is empty; expected {_CLASSES_EXPECTED}, as the line gives the id")
        if name.startswith("#"):
            raise InputError(f"{path}: line {number} is a comment; expected {_CLASSES_EXPECTED}, and nothing else")
        if name in names:
            raise InputError(f"{path}: line {number} repeats {name!r:.60} of line {names[name]}; expected other names")
        if len(name) > LONGEST_NAME:
            raise InputError(f"{path}: line {number} has {len(name)} characters; expected up to {LONGEST_NAME}")
        names[name] = number
    if not 2 <= len(names) <= 255:
        raise InputError(f"{path}: {len(names)} class(es); expected 2 to 255, {_CLASSES_EXPECTED}")
    return tuple(names)


def read_names(path: str | os.PathLike[str], image: Callable[[str], str] = str) -> tuple[str, ...]:
    """Read a list of images, one a line; empty lines do not count.

    Parameters
    ----------
    path : path
    image : callable
        Which image a line means; the line itself is its name if left out.

    Raises
    ------
    InputError
        The file cannot be read, has no name in it or an image twice.
    """
    names: dict[str, int] = {}
    for number, line in enumerate(read_lines(path, "one image name per line"), 1):
        name = image(line) if line else line
        if name in names:
            raise InputError(f"{path}: line {number} repeats {name!r:.60} of line {names[name]}; take one off")
        if name:
            names[name] = number
    return tuple(names)


def find_photos(root: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the photos in `images/` by name, sorted.

    Raises
    ------
    InputError
        If there are none, or two of one name.
    """
    photos: dict[str, Path] = {}
    for path in photo_files(root):
        name = composed(path.stem)
        if name in photos:
            raise InputError(f"{path}: {photos[name].name} beside it has the same name; expected one photo, rename one")
        photos[name] = path
    if not photos:
        raise InputError(f"{Path(root) / 'images'}: expected photos in it (.jpg, .png, ...), got none")
    return photos


def photo_files(root: str | os.PathLike[str]) -> list[Path]:
    """Return the files in `images/` that are named like pictures, sorted; hidden ones left out."""
    return [
        path
        for path in entries(Path(root) / "images")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]


def entries(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error})") from None


def composed(name: str) -> str:
    """Return one spelling for all that look alike: macOS takes letters and their accents apart, others do not."""
    return unicodedata.normalize("NFC", name)


def list_files(root: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the files that hold lists, by name: all of `lists/`, and those beside `images/` that name a photo."""
    root = Path(root)
    found = {path.stem: path for path in sorted((root / "lists").glob("*.txt"))}
    photos = {composed(p.stem) for p in photo_files(root)}
    for path in sorted(root.glob("*.txt")):
        try:
            lines = read_lines(path, "")
        except InputError:
            continue
        if any(named(line, photos) for line in lines):
            if path.stem in found:
                raise InputError(f"{path}: {found[path.stem]} is a list of the same name; take one away")
            found[path.stem] = path
    return found


def named(line: str, photos: Collection[str]) -> str | None:
    """Return which photo a line of a list names, with or without its suffix, or None."""
    line = composed(line)
    if line in photos:
        return line
    stem, _, suffix = line.rpartition(".")
    return stem if f".{suffix}".lower() in IMAGE_SUFFIXES and stem in photos else None


def list_names(root: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the names of all lists: "all", those of files, and "train" and "val" where no file takes their place."""
    files = list_files(root)
    return tuple(dict.fromkeys((ALL, *(() if files.keys() & SHARES.keys() else SHARES), *files)))


def default_lists(root: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the names of the list to train on and of the list to score on."""
    return "train", "val"


def read_list(
    root: str | os.PathLike[str],
    name: str,
    *,
    colors: ColorTable | None = None,
    classes: int | None = None,
    unlabeled: bool = False,
) -> ImageList:
    """Read a list of images.

    Parameters
    ----------
    root : path
        The folder that holds `images` and `labels`.
    name : str
        A list's name without ".txt", or the path of a text file; "all"; or a part chosen by a hash of each photo's
        name: "val@0.1" is a tenth of the photos, "train@0.9" the nine tenths that are not in it. "val" and "train"
        are short for 0.2 and 0.8, unless there is a file for either.
    colors : ColorTable, optional
        Given if the label maps are drawn in colors.
    classes : int, optional
        How many there are.
    unlabeled : bool
        Take images without a label map, too.

    Raises
    ------
    InputError
        If the list is unknown, empty, names an image twice, or one that has no photo or no label map.
    """
    root = Path(root)
    photos = find_photos(root)
    names, source = _names(root, name, photos)
    labels = {composed(p.stem): p for p in entries(root / "labels") if p.suffix == ".png"}
    missing = [n for n in names if n not in labels]
    if missing and not unlabeled:
        others = f" (nor for {len(missing) - 1} others)" if len(missing) > 1 else ""
        raise InputError(
            f"{root / 'labels' / missing[0]}.png: no such file for {photos[missing[0]]}{others};"
            f" add it, or take the photo off {source}"
        )
    samples = (Sample(n, photos[n], labels.get(n), colors, classes) for n in names)
    return image_list(Path(name).stem if name.endswith(".txt") else name, samples)


def _names(root: Path, name: str, photos: dict[str, Path]) -> tuple[list[str], str]:
    """Return the images of a list, and what the list is called in messages."""
    if name.endswith(".txt"):
        return _names_of_file(Path(name), photos), name
    files = list_files(root)
    if name in files:
        return _names_of_file(files[name], photos), str(files[name])
    if name == ALL:
        return list(photos), f"{root / 'images'}, or name the labeled ones in a list"
    part, at, given = name.partition("@")
    if part not in SHARES or (not at and files.keys() & SHARES.keys()):
        known = ", ".join(list_names(root))
        raise InputError(f"--list {name}: no such list of {root} (there are {known}); add {root / 'lists' / name}.txt")
    try:
        share = Decimal(given) if at else SHARES[part]
        known_share = 0 < share < 1
    except InvalidOperation:  # no number, or a comparison with "nan"
        known_share = False
    if not known_share:
        raise InputError(f"--list {name}: expected the part of the photos after @, above 0 and under 1, as in val@0.2")
    names = part_of(photos, part, share)
    if not names:
        raise InputError(f"--list {name}: none of the {len(photos)} photos of {root} falls to it; write lists instead")
    return names, f"{root / 'images'}, or name the labeled ones in a list"


def part_of(names: Iterable[str], part: str, share: Decimal) -> list[str]:
    """Return the names that fall to a share of "train" or "val", by a hash of each."""
    bound = int((share if part == "val" else 1 - share) * 2**64)
    return [name for name in names if (_hash(name) < bound) == (part == "val")]


def _names_of_file(path: Path, photos: dict[str, Path]) -> list[str]:
    names = read_names(path, lambda line: named(line, photos) or line)
    for name in names:
        if name not in photos:
            raise InputError(
                f"{path}: names {name!r:.80}, but there is no such photo in images/; take it off or add it"
            )
    return list(names)


def _hash(name: str) -> int:
    """Return a number from 0 to 2^64 - 1 that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode(errors="surrogateescape")).digest()[:8], "big")

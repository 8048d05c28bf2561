"""What is wrong with a data set, file by file, and what is in it."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._parallel import map_ordered
from ..errors import InputError
from ..image_io.decode import IMAGE_SUFFIXES, decode, read_image, stored_size
from ..labelmap.png import label_ids
from ..labelmap.voc_colormap import VOID
from . import folder_dataset as folders
from . import voc
from .dataset import Dataset, open_dataset
from .samples import Sample, first_beyond, read_label_map


@dataclass(frozen=True)
class Problem:
    """One thing to put right.

    Attributes
    ----------
    file : str
    kind : str
        "photo", "label map", "pair", "size", "id", "void", "name", "list" or "classes".
    says : str
        What was expected and what was got.
    """

    file: str
    kind: str
    says: str


@dataclass
class Findings:
    """What `check_dataset` found.

    Attributes
    ----------
    layout : "voc" or "folders"
    classes : tuple of str
        Empty if the class list itself cannot be read; ids are not checked then.
    problems : list of Problem
    notes : list of str
        Things worth a look that stop nothing.
    pairs : int
        Photos with a label map without a problem; the counts below are of these.
    pixels : (256,) int64
        Pixels of each id, 255 void.
    images : (256,) int64
        Label maps that hold each id.
    lists : dict of str to int
        Length of each list.
    overlaps : list of (str, str, int)
        Pairs of lists that share images, and how many.
    """

    layout: str
    classes: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pairs: int = 0
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    images: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    lists: dict[str, int] = field(default_factory=dict)
    overlaps: list[tuple[str, str, int]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        total = max(int(self.pixels.sum()), 1)
        return {
            "layout": self.layout,
            "pairs": self.pairs,
            "problems": [dataclasses.asdict(problem) for problem in self.problems],
            "notes": self.notes,
            "classes": [
                {
                    "id": c,
                    "name": name,
                    "pixels": int(self.pixels[c]),
                    "pixels_percent": 100 * int(self.pixels[c]) / total,
                    "images": int(self.images[c]),
                }
                for c, name in enumerate(self.classes)
            ],
            "void": {"pixels": int(self.pixels[VOID]), "pixels_percent": 100 * int(self.pixels[VOID]) / total},
            "lists": self.lists,
            "overlaps": [{"lists": [a, b], "images": count} for a, b, count in self.overlaps],
        }


@dataclass(frozen=True)
class _Seen:
    """One pair: what is wrong with it, or its histogram; and a hash of the photo's file."""

    problems: tuple[Problem, ...]
    pixels: NDArray[np.int64] | None
    photo: bytes | None


def check_dataset(
    root: str | os.PathLike[str],
    *,
    classes: str | os.PathLike[str] | None = None,
    colors: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    done: Callable[[int, int], None] = lambda _done, _total: None,
) -> Findings:
    """Decode every photo and label map of a data set, and go on whatever is wrong with them.

    Parameters
    ----------
    root, classes, colors
        As for `open_dataset`. Of a VOC folder the photos that have a label map or are on a list are checked.
    threads : int, optional
    done : callable
        Told how many photos and label maps are checked, and of how many.

    Raises
    ------
    InputError
        If the folder is laid out like no data set, or a file that is given cannot be used.
    """
    root = Path(root)
    try:
        dataset: Dataset | None = open_dataset(root, classes=classes, colors=colors)
    except InputError as error:
        dataset, reason = None, str(error)
    is_voc = (root / "JPEGImages").is_dir()
    recognized = is_voc or ((root / "images").is_dir() and (root / "labels").is_dir())
    class_list = root / "classes.txt" if classes is None else Path(classes)
    of_class_list = dataset is None and reason.startswith(f"{class_list}: ")
    if dataset is None and (
        not recognized
        or colors is not None
        or (root / "colors.txt").is_file()
        or (classes is not None and of_class_list)
    ):
        raise InputError(reason)
    found = Findings("voc" if is_voc else "folders", dataset.classes if dataset else ())
    if dataset is None:
        found.problems.append(_problem(class_list if of_class_list else root, "classes", reason))
    lists = _voc_lists(root, found) if is_voc else _own_lists(root, found)
    samples = list((_voc_samples if is_voc else _own_samples)(root, lists, found))
    if dataset is not None:
        samples = [dataclasses.replace(s, colors=dataset.colors, classes=len(dataset.classes)) for s in samples]
    if not is_voc:
        lists = _split(samples, lists)
    found.lists = {name: len(names) for name, names in lists.items()}

    if not samples:
        found.problems.append(_problem(root, "pair", "expected photos and their label maps, got none"))
    found.notes += [
        f"no photo falls to {n}; write lists/{n}.txt" for n, names in lists.items() if samples and not names
    ]
    twins = list(_decode(samples, found, threads, done))
    found.notes += [f"class {name!r} is in no label map" for c, name in enumerate(found.classes) if not found.images[c]]
    for (a, first), (b, second) in combinations(sorted(lists.items()), 2):
        if folders.ALL not in (a, b) and (shared := len(first & second)):
            found.overlaps.append((a, b, shared))
    training, evaluation = (voc if is_voc else folders).default_lists(root)
    train, val = lists.get(training, set()), lists.get(evaluation, set())
    if leak := sorted(train & val):
        says = f"the lists {training} and {evaluation} share {len(leak)} images, such as {leak[0]}; expected none"
        found.problems.append(_problem(root, "list", says))
    for one, other in twins:
        apart = (one.name in train and other.name in val) or (one.name in val and other.name in train)
        parts = f"; one is in {training}, one in {evaluation}" if apart else ""
        found.notes.append(f"{other.image}: the same picture as {one.image.name}{parts}")
    return found


def _decode(
    samples: list[Sample], found: Findings, threads: int | None, done: Callable[[int, int], None]
) -> Iterator[tuple[Sample, Sample]]:
    """Look at all pairs and count what they hold; yield those whose photos are the same file twice."""
    photos: dict[bytes, Sample] = {}
    for number, (sample, seen) in enumerate(zip(samples, map_ordered(_look, samples, threads), strict=True), 1):
        found.problems += seen.problems
        if seen.pixels is not None:
            found.pairs += 1
            found.pixels += seen.pixels
            found.images += seen.pixels > 0
        if seen.photo is not None and (one := photos.setdefault(seen.photo, sample)) is not sample:
            yield one, sample
        done(number, len(samples))


def _problem(path: str | os.PathLike[str], kind: str, says: str) -> Problem:
    return Problem(os.fspath(path), kind, says.removeprefix(f"{os.fspath(path)}: "))


def _look(sample: Sample) -> _Seen:
    """Check one pair."""
    problems: list[Problem] = []
    photo = labels = digest = None
    if sample.image.is_file():
        try:
            photo = read_image(sample.image)
            digest = hashlib.sha256(sample.image.read_bytes()).digest()
        except Exception as error:  # whatever a file does, the others are checked
            problems.append(_problem(sample.image, "photo", _said(error)))
    if sample.label is not None and sample.label.is_file():
        try:
            labels = _labels(sample, problems)
        except Exception as error:
            problems.append(_problem(sample.label, "label map", _said(error)))
    if photo is not None and labels is not None and photo.shape[:2] != labels.shape:
        problems.append(_problem(sample.label or "", "size", _sizes(sample, photo, labels)))
    if problems or photo is None or labels is None:
        return _Seen(tuple(problems), None, digest)
    return _Seen((), np.bincount(labels.ravel(), minlength=256), digest)


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _labels(sample: Sample, problems: list[Problem]) -> NDArray[np.uint8]:
    """Read a label map that can be decoded; ids that are no class are a problem of their own."""
    assert sample.label is not None
    if sample.colors is None:
        decoded = decode(sample.label, formats=("PNG",))
        mode = decoded.image.mode
        if mode.startswith(("I", "F")):
            raise InputError(f"{mode} pixels (16 bits or more); expected label ids in an 8-bit gray or palette PNG")
        if mode == "1":
            raise InputError("1-bit pixels, which may be meant as 0 and 1 or 0 and 255; expected 8-bit label ids")
        if mode not in ("P", "L"):
            raise InputError(
                f"colors ({mode}) where label ids are expected; add colors.txt (a line NAME R G B for each color)"
            )
        labels = label_ids(decoded, str(sample.label))
    else:
        labels = read_label_map(dataclasses.replace(sample, classes=None))
    if sample.classes is not None and (place := first_beyond(labels, sample.classes)) is not None:
        y, x = place
        beyond = labels[labels + np.uint8(1) > sample.classes]
        ids = ", ".join(map(str, np.unique(beyond)[:8]))
        problems.append(
            _problem(
                sample.label,
                "id",
                f"id {labels[y, x]} at x={x}, y={y} ({beyond.size} pixels of id {ids}); expected 0 to"
                f" {sample.classes - 1}, or {VOID} for void",
            )
        )
    if (labels == VOID).all():
        problems.append(_problem(sample.label, "void", "all void; expected some pixels of a class"))
    return labels


def _sizes(sample: Sample, photo: NDArray[np.uint8], labels: NDArray[np.uint8]) -> str:
    (height, width), (rows, columns) = photo.shape[:2], labels.shape
    says = f"{columns}x{rows} pixels, but {sample.image} has {width}x{height}; expected one size"
    if stored_size(sample.image) == (columns, rows):
        says += " (the camera's note turns the photo, EXIF: label the upright one, or take the note out)"
    return says


def _own_samples(root: Path, lists: dict[str, set[str]], found: Findings) -> Iterator[Sample]:
    """Pair `images` and `labels` by name, and say what has no other half."""
    halves: list[dict[str, Path]] = []
    for folder, suffixes in (("images", IMAGE_SUFFIXES), ("labels", frozenset({".png"}))):
        named: dict[str, Path] = {}
        for path in folders.entries(root / folder):
            name = folders.composed(path.stem)
            if path.name.startswith("."):
                continue
            if path.suffix not in suffixes and (folder == "labels" or path.suffix.lower() not in suffixes):
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    says = f"a label map of a photo NAME is a file NAME.png; got the suffix {path.suffix}"
                    found.problems.append(_problem(path, "name", says))
                else:
                    found.notes.append(f"{path}: not looked at; {'a folder' if path.is_dir() else 'no picture'}")
            elif not path.is_file():
                kind = "photo" if folder == "images" else "label map"
                found.problems.append(_problem(path, kind, "expected a file, got a folder or a broken link"))
            elif name in named:
                says = f"the same name as {named[name].name}; expected one file of a name"
                found.problems.append(_problem(path, "name", says))
            else:
                named[name] = path
        halves.append(named)
    photos, labels = halves
    listed = set[str]().union(*lists.values()) if lists else None
    for name in sorted(photos.keys() | labels.keys()):
        photo, label = photos.get(name), labels.get(name)
        if photo is None:
            found.problems.append(_problem(labels[name], "pair", f"no photo {name} in {root / 'images'}"))
        elif label is None and (listed is None or name in listed):
            found.problems.append(_problem(photo, "pair", f"no label map {root / 'labels' / name}.png"))
        yield Sample(name, photo or root / "images" / name, label)


def _voc_samples(root: Path, lists: dict[str, set[str]], found: Findings) -> Iterator[Sample]:
    """Pair the label maps and the listed images with their photos."""
    folder = voc.label_folder(root)
    labels = {path.stem: path for path in folders.entries(folder) if path.suffix == ".png"}
    for name in sorted(labels.keys() | set[str]().union(*lists.values())):
        photo, label = root / "JPEGImages" / f"{name}.jpg", folder / f"{name}.png"
        if not photo.is_file():
            found.problems.append(_problem(photo, "pair", "no such photo, though it is on a list or has a label map"))
        if name not in labels:
            found.problems.append(_problem(label, "pair", "no such label map, though it is on a list"))
        yield Sample(name, photo, label)


def _own_lists(root: Path, found: Findings) -> dict[str, set[str]]:
    try:
        files = folders.list_files(root)
    except InputError as error:
        found.problems.append(_problem(root, "list", str(error)))
        return {}
    photos = {folders.composed(path.stem) for path in folders.photo_files(root)}
    return _read_lists(files, lambda line: folders.named(line, photos) or line, found, photos)


def _voc_lists(root: Path, found: Findings) -> dict[str, set[str]]:
    files = {name: root / "ImageSets" / "Segmentation" / f"{name}.txt" for name in voc.list_names(root)}
    if not files:
        found.notes.append(f"{root / 'ImageSets' / 'Segmentation'}: no lists; training needs one")
    return _read_lists(files, voc.image_name, found)


def _read_lists(
    files: dict[str, Path], image: Callable[[str], str], found: Findings, photos: Set[str] | None = None
) -> dict[str, set[str]]:
    lists = {}
    for list_name, path in files.items():
        try:
            names = set(folders.read_names(path, image))
        except InputError as error:
            found.problems.append(_problem(path, "list", str(error)))
            continue
        unknown = names - photos if photos is not None else set()
        found.problems += [
            _problem(path, "list", f"names {name!r:.80}, but there is no such photo") for name in sorted(unknown)
        ]
        lists[list_name] = names - unknown
    return lists


def _split(samples: list[Sample], lists: dict[str, set[str]]) -> dict[str, set[str]]:
    """Add the lists of own data that need no file."""
    names = [s.name for s in samples if s.label is not None and s.image.is_file()]
    parts = {} if lists.keys() & folders.SHARES.keys() else folders.SHARES
    split = {part: set(folders.part_of(names, part, share)) for part, share in parts.items()}
    return {folders.ALL: set(names)} | split | lists

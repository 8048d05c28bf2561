"""Validation of a data set, file by file, with statistics."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._parallel import map_ordered
from ..errors import InputError
from ..image_io.decode import IMAGE_SUFFIXES, read_image, stored_size
from ..labelmap.png import read_labels
from ..labelmap.voc_colormap import VOID
from . import folder_dataset as folders
from . import voc
from .dataset import Dataset, open_dataset
from .samples import Sample, class_of_id, wrong_ids


@dataclass(frozen=True)
class Problem:
    """A problem in a data set.

    Attributes
    ----------
    file : str
    kind : str
        "image", "label map", "pair", "size", "id", "void", "name", "list" or "classes".
    message : str
        Expected and found values.
    """

    file: str
    kind: str
    message: str


@dataclass
class Findings:
    """Result of `check_dataset`.

    Attributes
    ----------
    layout : "voc" or "folders"
    classes : tuple of str
        Empty if the class list cannot be read; then ids are not checked.
    problems : list of Problem
    notes : list of str
        Observations that are not problems.
    pairs : int
        Images with a label map and without problems other than ids. The counts below refer to them.
    pixels : (256,) int64
        Pixels per id; 255 is void.
    images : (256,) int64
        Label maps that contain each id.
    lists : dict of str to int
        Length of each list.
    overlaps : list of (str, str, int)
        Pairs of lists with common images, and their number.
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
        """Return all results as plain values for JSON."""
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
    """Result of one pair: problems or histogram, and a hash of the image file."""

    problems: tuple[Problem, ...]
    pixels: NDArray[np.int64] | None
    digest: bytes | None


def check_dataset(
    root: str | os.PathLike[str],
    *,
    classes: str | os.PathLike[str] | None = None,
    colors: str | os.PathLike[str] | None = None,
    void: Sequence[int] = (),
    threads: int | None = None,
    done: Callable[[int, int], None] = lambda _done, _total: None,
) -> Findings:
    """Decode all images and label maps of a data set; record problems and continue.

    Parameters
    ----------
    root, classes, colors, void
        See `open_dataset`. In a VOC folder, images with a label map and listed images are checked.
    threads : int, optional
        Default: the number of processors.
    done : callable
        Called with the number of checked pairs and the total.

    Raises
    ------
    InputError
        If the folder has no known layout, or a given file cannot be used.
    """
    root = Path(root)
    try:
        dataset: Dataset | None = open_dataset(root, classes=classes, colors=colors, void=void)
    except InputError as error:
        dataset, reason = None, str(error)
    is_voc = (root / "JPEGImages").is_dir()
    recognized = is_voc or ((root / "images").is_dir() and (root / "labels").is_dir())
    class_list = root / "classes.txt" if classes is None else Path(classes)
    of_class_list = dataset is None and reason.startswith(f"{class_list}: ")
    if dataset is None and (
        not recognized
        or colors is not None
        or void
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
        samples = list(dataset.labeled(samples))
    if not is_voc:
        lists = _split(samples, lists)
    found.lists = {name: len(names) for name, names in lists.items()}

    if not samples:
        found.problems.append(_problem(root, "pair", "expected images and their label maps, got none"))
    found.notes += [f"list {n} is empty; write lists/{n}.txt" for n, names in lists.items() if samples and not names]
    twins = list(_decode(samples, found, threads, done))
    found.notes += [
        f"class {name!r} occurs in no label map" for c, name in enumerate(found.classes) if not found.images[c]
    ]
    for (a, first), (b, second) in combinations(sorted(lists.items()), 2):
        if folders.ALL not in (a, b) and (shared := len(first & second)):
            found.overlaps.append((a, b, shared))
    training, evaluation = (voc if is_voc else folders).default_lists(root)
    train, val = lists.get(training, set()), lists.get(evaluation, set())
    if leak := sorted(train & val):
        message = f"expected disjoint lists, got {len(leak)} images in {training} and {evaluation}, such as {leak[0]}"
        found.problems.append(_problem(root, "list", message))
    for one, other in twins:
        apart = (one.name in train and other.name in val) or (one.name in val and other.name in train)
        parts = f"; one is in {training}, one in {evaluation}" if apart else ""
        found.notes.append(f"{other.image}: the same image as {one.image.name}{parts}")
    return found


def _decode(
    samples: list[Sample], found: Findings, threads: int | None, done: Callable[[int, int], None]
) -> Iterator[tuple[Sample, Sample]]:
    """Check and count all pairs; yield pairs whose images are the same file."""
    images: dict[bytes, Sample] = {}
    for number, (sample, seen) in enumerate(zip(samples, map_ordered(_look, samples, threads), strict=True), 1):
        found.problems += seen.problems
        if seen.pixels is not None:
            found.pairs += 1
            found.pixels += seen.pixels
            found.images += seen.pixels > 0
        if seen.digest is not None and (one := images.setdefault(seen.digest, sample)) is not sample:
            yield one, sample
        done(number, len(samples))


def _problem(path: str | os.PathLike[str], kind: str, message: str) -> Problem:
    return Problem(os.fspath(path), kind, message.removeprefix(f"{os.fspath(path)}: "))


def _look(sample: Sample) -> _Seen:
    """Check one pair."""
    problems: list[Problem] = []
    image = labels = digest = None
    if sample.image.is_file():
        try:
            image = read_image(sample.image)
            digest = hashlib.sha256(sample.image.read_bytes()).digest()
        except Exception as error:  # after any error, the other files are checked
            problems.append(_problem(sample.image, "image", _text(error)))
    table = class_of_id(None if sample.colors else sample.classes, sample.void)
    if sample.label is not None and sample.label.is_file():
        try:
            labels = read_labels(sample.label) if sample.colors is None else sample.colors.read_labels(sample.label)
        except Exception as error:
            problems.append(_problem(sample.label, "label map", _text(error)))
    if image is not None and labels is not None and image.shape[:2] != labels.shape:
        problems.append(_problem(sample.label or "", "size", _sizes(sample, image, labels)))
    if labels is not None and sample.label is not None:
        pixels = np.bincount(labels.ravel(), minlength=256)
        countable = image is not None and not problems
        if sample.colors is None and (wrong := wrong_ids(labels, sample)) is not None:
            problems.append(_problem(sample.label, "id", wrong))
        elif not pixels[table != VOID].any():
            problems.append(_problem(sample.label, "void", "expected labeled pixels, got only void"))
            countable = False
        if countable:
            counts = np.zeros(256, np.int64)
            np.add.at(counts, table[table >= 0], pixels[table >= 0])
            return _Seen(tuple(problems), counts, digest)
    return _Seen(tuple(problems), None, digest)


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _sizes(sample: Sample, image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> str:
    (height, width), (rows, columns) = image.shape[:2], labels.shape
    message = f"expected the size of {sample.image}, {width}x{height} pixels, got {columns}x{rows}"
    if stored_size(sample.image) == (columns, rows):
        message += " (the image has an EXIF orientation: label the upright image, or remove the tag)"
    return message


def _own_samples(root: Path, lists: dict[str, set[str]], found: Findings) -> Iterator[Sample]:
    """Pair `images` and `labels` by name, and record files without a counterpart."""
    halves: list[dict[str, Path]] = []
    for folder, suffixes in (("images", IMAGE_SUFFIXES), ("labels", frozenset({".png"}))):
        named: dict[str, Path] = {}
        for path in folders.entries(root / folder):
            name = folders.composed(path.stem)
            if path.name.startswith("."):
                continue
            if path.suffix not in suffixes and (folder == "labels" or path.suffix.lower() not in suffixes):
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    message = f"expected the suffix .png of a label map, got {path.suffix}"
                    found.problems.append(_problem(path, "name", message))
                else:
                    found.notes.append(f"{path}: skipped; {'a folder' if path.is_dir() else 'not an image'}")
            elif not path.is_file():
                kind = "image" if folder == "images" else "label map"
                found.problems.append(_problem(path, kind, "expected a file, got a folder or a broken link"))
            elif name in named:
                message = f"expected one file per name, got {named[name].name}, too"
                found.problems.append(_problem(path, "name", message))
            else:
                named[name] = path
        halves.append(named)
    images, labels = halves
    listed = set[str]().union(*lists.values()) if lists else None
    for name in sorted(images.keys() | labels.keys()):
        image, label = images.get(name), labels.get(name)
        if image is None:
            found.problems.append(
                _problem(labels[name], "pair", f"expected an image {name} in {root / 'images'}, found none")
            )
        elif label is None and (listed is None or name in listed):
            found.problems.append(
                _problem(image, "pair", f"expected a label map {root / 'labels' / name}.png, found none")
            )
        yield Sample(name, image or root / "images" / name, label)


def _voc_samples(root: Path, lists: dict[str, set[str]], found: Findings) -> Iterator[Sample]:
    """Pair the label maps and the listed images with the image files."""
    folder = voc.label_folder(root)
    labels = {path.stem: path for path in folders.entries(folder) if path.suffix == ".png"}
    for name in sorted(labels.keys() | set[str]().union(*lists.values())):
        image, label = root / "JPEGImages" / f"{name}.jpg", folder / f"{name}.png"
        if not image.is_file():
            found.problems.append(_problem(image, "pair", "no such file, although it is listed or has a label map"))
        if name not in labels:
            found.problems.append(_problem(label, "pair", "no such file, although it is listed"))
        yield Sample(name, image, label)


def _own_lists(root: Path, found: Findings) -> dict[str, set[str]]:
    try:
        files = folders.list_files(root)
    except InputError as error:
        found.problems.append(_problem(root, "list", str(error)))
        return {}
    images = {folders.composed(path.stem) for path in folders.image_files(root)}
    return _read_lists(files, lambda line: folders.named(line, images) or line, found, images)


def _voc_lists(root: Path, found: Findings) -> dict[str, set[str]]:
    files = {name: root / "ImageSets" / "Segmentation" / f"{name}.txt" for name in voc.list_names(root)}
    if not files:
        found.notes.append(f"{root / 'ImageSets' / 'Segmentation'}: no lists; training needs one")
    return _read_lists(files, voc.image_name, found)


def _read_lists(
    files: dict[str, Path], image: Callable[[str], str], found: Findings, images: Set[str] | None = None
) -> dict[str, set[str]]:
    lists = {}
    for list_name, path in files.items():
        try:
            names = set(folders.read_names(path, image))
        except InputError as error:
            found.problems.append(_problem(path, "list", str(error)))
            continue
        unknown = names - images if images is not None else set()
        found.problems += [
            _problem(path, "list", f"expected names of images, got {name!r:.80}") for name in sorted(unknown)
        ]
        lists[list_name] = names - unknown
    return lists


def _split(samples: list[Sample], lists: dict[str, set[str]]) -> dict[str, set[str]]:
    """Add the lists of own data that need no file."""
    names = [s.name for s in samples if s.label is not None and s.image.is_file()]
    parts = {} if lists.keys() & folders.SHARES.keys() else folders.SHARES
    split = {part: set(folders.part_of(names, part, share)) for part, share in parts.items()}
    return {folders.ALL: set(names)} | split | lists

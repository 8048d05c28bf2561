"""Validation of a data set, file by file, with statistics."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
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
from ..labelmap.voc_colormap import VOID, voc_palette
from . import folder_dataset as folders
from .dataset import open_dataset
from .layout import Layout, entries, is_png, layout_of
from .metadata import VOC_CLASSES
from .samples import Sample, class_of_id, wrong_ids, wrong_size

_MOST_NAMES = 8  # absent classes in a note


@dataclass(frozen=True)
class Problem:
    """A problem of a file, with what was expected and found.

    `kind` is "image", "label map", "pair", "size", "id", "void", "name", "list" or "classes".
    """

    file: str
    kind: str
    message: str


def _counts() -> NDArray[np.int64]:
    return np.zeros(256, np.int64)


@dataclass
class Findings:
    """Result of `check_dataset`.

    Attributes
    ----------
    layout : "voc", "folders" or "splits"
    classes : tuple of str
        Empty if the class list cannot be read; then ids are not checked.
    problems : list of Problem
    notes : list of str
        Observations that are not problems.
    pairs : int
        Images with a label map and without problems other than ids. The counts below refer to them.
    pixels, images : (256,) int64
        Pixels per id, and label maps that contain it; 255 is void.
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
    pixels: NDArray[np.int64] = field(default_factory=_counts)
    images: NDArray[np.int64] = field(default_factory=_counts)
    lists: dict[str, int] = field(default_factory=dict)
    overlaps: list[tuple[str, str, int]] = field(default_factory=list)

    def add(self, path: str | os.PathLike[str], kind: str, message: str) -> None:
        """Record a problem of a file."""
        self.problems.append(Problem(os.fspath(path), kind, message.removeprefix(f"{os.fspath(path)}: ")))

    def as_dict(self) -> dict[str, Any]:
        """Return all results as plain values for JSON."""
        total = max(int(self.pixels.sum()), 1)
        pixels = [{"pixels": count, "pixels_percent": 100 * count / total} for count in self.pixels.tolist()]
        return {
            "layout": self.layout,
            "pairs": self.pairs,
            "problems": [dataclasses.asdict(problem) for problem in self.problems],
            "notes": self.notes,
            "classes": [
                {"id": c, "name": name, **pixels[c], "images": int(self.images[c])}
                for c, name in enumerate(self.classes)
            ],
            "void": pixels[VOID],
            "lists": self.lists,
            "overlaps": [{"lists": [a, b], "images": count} for a, b, count in self.overlaps],
        }


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
    layout, dataset = layout_of(root), None
    try:
        dataset = open_dataset(root, classes=classes, colors=colors, void=void)
        found = Findings(dataset.layout, dataset.classes, notes=list(dataset.notes))
    except InputError as error:
        class_list = Path(classes) if classes is not None else layout.class_list or root / "classes.txt"
        of_class_list = str(error).startswith(f"{class_list}: ")
        given = colors is not None or void or (classes is not None and of_class_list)
        if given or layout.color_table is not None:
            raise
        found = Findings(layout.name, ())
        found.add(class_list if of_class_list else root, "classes", str(error))
    lists = _lists(layout, found)
    samples = list(_samples(layout, lists, found))
    if dataset is not None:
        samples = list(dataset.labeled(samples))
    names = [s.name for s in samples if s.label is not None and s.image.is_file()]
    hashed = folders.EVALUATION_LIST in folders.implied_lists(layout, lists)
    lists = {
        part: set(names if part == folders.ALL else folders.part_of(names, part, folders.SHARES[part]))
        for part in folders.implied_lists(layout, lists)
    } | lists
    found.lists = {name: len(images) for name, images in lists.items()}
    if not samples:
        found.add(layout.images[0], "pair", folders.no_images(layout))
    empty = [name for name, images in lists.items() if names and not images]
    found.notes += [f"list {name} is empty; write {layout.lists.name}/{name}.txt" for name in empty]
    if names and hashed:
        found.notes.append("no list of images, so train and val are split by a hash of the names")
        moved = [f"{path}: not read as a list; move it to {layout.lists}" for path in folders.unread_lists(layout)]
        found.notes += moved[:_MOST_NAMES]
    twins = _decode(samples, found, threads, done)
    absent = [name for c, name in enumerate(found.classes) if not found.images[c]]
    if absent and found.pairs:
        found.notes.append(f"no label map has {_listed(absent)}")
    for a, b in combinations(sorted(lists.keys() - {folders.ALL}), 2):
        if shared := len(lists[a] & lists[b]):
            found.overlaps.append((a, b, shared))
    training, evaluation = folders.training_list(lists), folders.EVALUATION_LIST
    train, val = lists.get(training, set()), lists.get(evaluation, set())
    if leak := sorted(train & val):
        message = f"expected disjoint lists, got {len(leak)} images in {training} and {evaluation}, such as {leak[0]}"
        found.add(root, "list", message)
    for one, other in twins:
        apart = (one.name in train and other.name in val) or (one.name in val and other.name in train)
        parts = f"; one is in {training}, one in {evaluation}" if apart else ""
        found.notes.append(f"{other.image}: the same image as {one.image.name}{parts}")
    return found


def _listed(names: list[str]) -> str:
    if len(names) == 1:
        return f"the class {names[0]!r}"
    others = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"the {len(names)} classes {', '.join(map(repr, names[:_MOST_NAMES]))}{others}"


@dataclass
class _Seen:
    """Result of one pair: problems, pixels per class, hash of the image, and a note on ids with others' colors."""

    problems: list[tuple[Path, str, str]] = field(default_factory=list)
    pixels: NDArray[np.int64] | None = None
    digest: bytes | None = None
    moved: str | None = None


def _decode(
    samples: list[Sample], found: Findings, threads: int | None, done: Callable[[int, int], None]
) -> list[tuple[Sample, Sample]]:
    """Check and count all pairs; return those whose images are the same file."""
    images: dict[bytes, Sample] = {}
    twins: list[tuple[Sample, Sample]] = []
    moved: list[str] = []
    for number, (sample, seen) in enumerate(zip(samples, map_ordered(_look, samples, threads), strict=True), 1):
        for problem in seen.problems:
            found.add(*problem)
        if seen.pixels is not None:
            found.pairs += 1
            found.pixels += seen.pixels
            found.images += seen.pixels > 0
        if seen.digest is not None and (one := images.setdefault(seen.digest, sample)) is not sample:
            twins.append((one, sample))
        if seen.moved is not None and found.classes == VOC_CLASSES:
            moved.append(f"{sample.label}: {seen.moved}")
        done(number, len(samples))
    if moved:
        others = f" ({len(moved) - 1} other label maps have such ids)" if len(moved) > 1 else ""
        found.notes.append(f"{moved[0]}; the ids may have been renumbered{others}")
    return twins


def _look(sample: Sample) -> _Seen:
    """Check one pair. After any error, the other files are checked."""
    seen, image, colors = _Seen(), None, None
    if sample.image.is_file():
        try:
            image = read_image(sample.image)
            seen.digest = hashlib.sha256(sample.image.read_bytes()).digest()
        except Exception as error:
            seen.problems.append((sample.image, "image", _text(error)))
    if sample.label is None:
        return seen
    try:
        if sample.colors is None:
            decoded = decode(sample.label, formats=("PNG",))
            labels = label_ids(decoded, str(sample.label))
            colors = decoded.image.getpalette() if decoded.image.mode == "P" else None
        else:
            labels = sample.colors.read_labels(sample.label)
    except Exception as error:
        seen.problems.append((sample.label, "label map", _text(error)))
        return seen
    if image is not None and (wrong := wrong_size(labels, sample.image, image.shape)) is not None:
        if stored_size(sample.image) == labels.shape[::-1]:
            wrong += " (the image has an EXIF orientation: label the upright image, or remove the tag)"
        seen.problems.append((sample.label, "size", wrong))
    countable = image is not None and not seen.problems
    table = class_of_id(None if sample.colors else sample.classes, sample.void)
    pixels = np.bincount(labels.ravel(), minlength=256)
    if sample.colors is None and (wrong := wrong_ids(labels, sample)) is not None:
        seen.problems.append((sample.label, "id", wrong))
    elif not pixels[table != VOID].any():
        seen.problems.append((sample.label, "void", "expected labeled pixels, got only void"))
        countable = False
    if countable:
        known = table >= 0
        seen.pixels = np.bincount(table[known], weights=pixels[known], minlength=256).astype(np.int64)
        seen.moved = _moved(colors, np.flatnonzero(pixels[:VOID]))
    return seen


def _moved(colors: list[int] | None, ids: NDArray[np.intp]) -> str | None:
    """Describe the first id that has the color of another one in VOC's colormap; None if there is none."""
    voc = [tuple(color) for color in voc_palette(len(VOC_CLASSES)).tolist()]
    for label in ids.tolist():
        color = tuple((colors or [])[3 * label : 3 * label + 3])
        if color in voc and label != (other := voc.index(color)):
            return f"id {label} has the color of {VOC_CLASSES[other]}, id {other} of PASCAL VOC"
    return None


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _samples(layout: Layout, lists: dict[str, set[str]], found: Findings) -> Iterator[Sample]:
    """Pair images and label maps by name, and record files without a counterpart."""
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for folder in dict.fromkeys((*layout.images, *layout.labels)):
        for path in entries(folder):
            if path.name.startswith((".", "_")):
                continue
            of_labels = folder not in layout.images or folders.is_mask(path, layout)
            known = is_png(path) if of_labels else path.suffix.lower() in IMAGE_SUFFIXES
            named = labels if of_labels else images
            name = folders.composed(path.stem.removesuffix(layout.mask_ending if of_labels else ""))
            if not known and path.suffix.lower() in IMAGE_SUFFIXES:
                found.add(path, "name", f"expected the suffix .png of a label map, got {path.suffix}")
            elif not known:
                found.notes.append(f"{path}: skipped; {'a folder' if path.is_dir() else 'not an image'}")
            elif not path.is_file():
                kind = "label map" if of_labels else "image"
                found.add(path, kind, "expected a file, got a folder or a broken link")
            elif name in named:
                found.add(path, "name", f"expected one file per name, got {named[name].name}, too")
            else:
                named[name] = path
    listed = set[str]().union(*lists.values())
    used: set[Path | None] = set()
    for name, image in sorted(images.items()):
        label = folders.label_of(image, labels)
        used.add(label)
        needed = name in listed if lists or layout.name == "voc" else True
        if label is None and needed:
            found.add(image, "pair", f"expected a label map {folders.expected_label(layout, image)}, found none")
        if label is not None or needed or layout.name != "voc":
            yield Sample(name, image, label)
    for name, label in sorted(labels.items()):
        if label not in used:
            found.add(label, "pair", f"expected an image {name} in {layout.images[0]}, found none")
            yield Sample(name, layout.images[0] / name, label)


def _lists(layout: Layout, found: Findings) -> dict[str, set[str]]:
    """Read the list files, and record names of no image."""
    lists: dict[str, set[str]] = {}
    try:
        files = folders.list_files(layout)
    except InputError as error:
        found.add(layout.root, "list", str(error))
        return lists
    images = {folders.composed(path.stem): path for path in folders.image_files(layout)}
    for list_name, path in files.items():
        try:
            names = set(folders.names_in(path, images))
        except InputError as error:
            found.add(path, "list", str(error))
            continue
        for name in sorted(names - images.keys()):
            found.add(path, "list", f"expected names of images, got {name!r:.80}")
        lists[list_name] = names & images.keys()
    return lists

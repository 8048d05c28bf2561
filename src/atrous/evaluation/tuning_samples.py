"""Samples for tuning the CRF: a network's held-out images, or a folder of any network's scores."""

import hashlib
import os
import tempfile
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._resources import cache_bytes
from ..backends import model_files
from ..crf.tune.scorer import LabeledImage
from ..data.samples import Sample, read_label_map, read_pair
from ..data.unary_io import labels_first, read_scores
from ..errors import InputError, as_input_error
from ..image_io.decode import IMAGE_SUFFIXES, read_image, stored_size
from ..labelmap import read_color_table
from ..segmenter import Segmenter

# Larger probabilities are stored on disk. About 250 VOC images with 21 classes fit in memory.
MOST_IN_MEMORY = 2 * 2**30


class _LabeledImages(Sequence[LabeledImage]):
    """Sequence that reads its items on access."""

    @abstractmethod
    def _read(self, index: int) -> LabeledImage:
        """Return the item at a nonnegative index."""

    @overload
    def __getitem__(self, index: SupportsIndex) -> LabeledImage: ...
    @overload
    def __getitem__(self, index: slice) -> list[LabeledImage]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> LabeledImage | list[LabeledImage]:
        places = range(len(self))[index]
        return self._read(places) if isinstance(places, int) else [self._read(place) for place in places]


class NetworkSamples(_LabeledImages):
    """Labeled images and a network's probabilities for them. The network runs when an image is first read.

    Probabilities are cached in half precision, in memory or, above a limit, in a temporary folder. Images larger than
    the network's input are used at the input size, because `sxy` is in pixels of that size.

    Parameters
    ----------
    segmenter : Segmenter
        Its CRF parameters are not used.
    samples : sequence of Sample
        Labeled images that the network was not trained on.
    most_in_memory : int, optional
        Limit in bytes. Default: 2 GiB, or a quarter of the process' memory limit if that is less.
    """

    def __init__(self, segmenter: Segmenter, samples: Sequence[Sample], *, most_in_memory: int | None = None) -> None:
        self._segmenter, self._samples = segmenter, samples
        self._known: dict[int, LabeledImage] = {}
        self._room = cache_bytes(MOST_IN_MEMORY) if most_in_memory is None else most_in_memory
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __len__(self) -> int:
        return len(self._samples)

    def _read(self, index: int) -> LabeledImage:
        if index not in self._known:
            sample = self._samples[index]
            image, truth = self._at_network_size(*read_pair(sample))
            probabilities = self._segmenter.probabilities(image).astype(np.float16)
            self._known[index] = LabeledImage(image, self._cached(probabilities, index), truth, str(sample.image))
        return self._known[index]

    def _at_network_size(
        self, image: NDArray[np.uint8], truth: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        height, width = truth.shape
        scale = self._segmenter.max_side / max(height, width)
        if scale >= 1:
            return image, truth
        size = max(1, round(width * scale)), max(1, round(height * scale))
        smaller = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
        labels = Image.fromarray(truth).resize(size, Image.Resampling.NEAREST)
        return np.asarray(smaller), np.asarray(labels)

    def _cached(self, probabilities: NDArray[np.float16], index: int) -> NDArray[np.float16]:
        if self._room >= probabilities.nbytes:
            self._room -= probabilities.nbytes
            return probabilities
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="atrous-tune-")
        path = Path(self._folder.name) / f"{index}.npy"
        with as_input_error(path, remedy="; set TMPDIR to a folder with more space"):
            np.save(path, probabilities)
        return np.load(path, mmap_mode="r")


class FolderSamples(_LabeledImages):
    """Folder with `images/`, `scores/` and `masks/`; the files of an image share its name.

    Parameters
    ----------
    folder : path
        Each image `images/NAME.jpg` (.png, ...) has probabilities (C, H, W), (H, W, C) or of the foreground (H, W) in
        `scores/NAME.npy`, or in `scores/NAME.npz` with one array, and label ids in the index PNG `masks/NAME.png`, with
        255 for void; or colors of the table `colors.txt`.
    limit : int, optional
        Maximum number of images, evenly spaced. Default: all.
    void : sequence of int
        Ids in masks that mean void, besides 255.

    Raises
    ------
    InputError
        If a folder or a file is missing. On access, if a file is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int | None = None, void: Sequence[int] = ()) -> None:
        folder = Path(folder)
        for name in ("images", "scores", "masks"):
            if not (folder / name).is_dir():
                raise InputError(
                    f"{folder}: expected a PASCAL VOC folder (with ImageSets/) or the folders images, scores and"
                    f" masks, found no {name}; if a network computes the scores, rename masks to labels"
                )
        images = sorted(
            path
            for path in (folder / "images").iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        )
        if not images:
            raise InputError(f"{folder / 'images'}: expected images, found none")
        name, count = Counter(path.stem for path in images).most_common(1)[0]
        if count > 1:
            raise InputError(f"{folder / 'images' / name}: expected one image of that name, got {count}; rename")
        if limit is not None and limit < len(images):
            images = [images[i * len(images) // limit] for i in range(limit)]
        self._void = tuple(void)
        table = folder / "colors.txt"
        self._colors = read_color_table(table)[0] if table.is_file() else None
        self._files = [(image, _scores_of(folder, image), _mask_of(folder, image)) for image in images]

    def __len__(self) -> int:
        return len(self._files)

    def _read(self, index: int) -> LabeledImage:
        path, scores, mask = self._files[index]
        truth = read_label_map(
            Sample(path.stem, path, mask, classes=self._classes, void=self._void, colors=self._colors)
        )
        image = read_image(path)
        return LabeledImage(image, _probabilities(scores, image.shape), truth, str(path))

    @cached_property
    def _classes(self) -> int:
        image, scores, _ = self._files[0]
        width, height = stored_size(image)
        return len(_probabilities(scores, (height, width)))


def _probabilities(path: Path, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Read scores at their precision; their values are checked once, by the search."""
    return labels_first(read_scores(path), str(path), (shape[0], shape[1]))


def _scores_of(folder: Path, image: Path) -> Path:
    for suffix in (".npy", ".npz"):
        path = folder / "scores" / (image.stem + suffix)
        if path.is_file():
            return path
    raise InputError(f"{folder / 'scores' / image.stem}.npy: no such file (nor .npz) for {image}; add it")


def _mask_of(folder: Path, image: Path) -> Path:
    path = folder / "masks" / f"{image.stem}.png"
    if not path.is_file():
        raise InputError(f"{path}: no such file for {image}; add it")
    return path


def model_sha256(model: str | os.PathLike[str] | None) -> str:
    """Return a hash of the files of a model, see `model_files`."""
    digest = hashlib.sha256()
    for file in model_files(model):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()

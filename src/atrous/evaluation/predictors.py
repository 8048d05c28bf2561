"""Sources of label maps for an evaluation: a segmenter, or folders of PNG files."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..data.samples import ImageList, Sample, image_list, read_label_map, wrong_size
from ..errors import InputError
from ..labelmap import made_here
from ..segmenter import Segmenter
from ..segmenter.result import most_probable
from .results import CRF, DCNN


class LabelMaps(NamedTuple):
    """Label maps of one image.

    Attributes
    ----------
    maps : dict of str to (H, W) uint8
        Maps by labeling.
    steps : dict of int to (H, W) uint8
        Maps by number of mean-field steps.
    files : dict of str to Path
        Files of the maps, by labeling.
    """

    maps: dict[str, NDArray[np.uint8]]
    steps: dict[int, NDArray[np.uint8]]
    files: dict[str, Path] = {}  # noqa: RUF012  # of a NamedTuple


class Labeler(Protocol):
    """Callable that returns label maps. Several threads call it at once."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by id."""

    @property
    def labelings(self) -> tuple[str, ...]:
        """Names of the label maps of each image."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Numbers of mean-field steps for further maps."""

    def __call__(self, sample: Sample, image: NDArray[np.uint8]) -> LabelMaps:
        """Return the label maps of an (H, W, 3) uint8 RGB image."""


class SegmenterLabeler:
    """Labeler that runs the network alone and, if the segmenter has one, the CRF.

    Parameters
    ----------
    segmenter : Segmenter
    steps : sequence of int
        Numbers of mean-field steps for further maps.

    Raises
    ------
    InputError
        If there are steps but no CRF, or a number is negative.
    """

    def __init__(self, segmenter: Segmenter, steps: Sequence[int] = ()) -> None:
        if steps and segmenter.crf is None:
            raise InputError("mean_field_steps: expected a segmenter with a CRF, got one without")
        if steps and min(steps) < 0:
            raise InputError(f"mean_field_steps: expected 0 or more, got {min(steps)}")
        self._segmenter = segmenter
        self.classes = segmenter.classes
        self.labelings = (DCNN,) if segmenter.crf is None else (DCNN, CRF)
        self.steps = tuple(sorted(set(steps)))

    def __call__(self, sample: Sample, image: NDArray[np.uint8]) -> LabelMaps:
        """Segment one image."""
        probabilities = self._segmenter.probabilities(image)
        maps = {DCNN: most_probable(probabilities)}
        if self._segmenter.crf is None:
            return LabelMaps(maps, {})
        crf = self._segmenter.dense_crf(image)
        maps[CRF] = crf.labels(probabilities).astype(np.uint8, copy=False)
        known = {crf.iterations: maps[CRF]}
        # Building the lattice takes longer than a few steps, so all step counts share it.
        for steps in self.steps:
            if steps not in known:
                crf.iterations = steps
                known[steps] = crf.labels(probabilities).astype(np.uint8, copy=False)
        return LabelMaps(maps, {steps: known[steps] for steps in self.steps})


class FolderLabeler:
    """Labeler that reads label maps `NAME.png` from folders, one labeling per folder.

    Parameters
    ----------
    folders : sequence of path
    classes : tuple of str
    """

    steps: tuple[int, ...] = ()

    def __init__(self, folders: Sequence[str | os.PathLike[str]], classes: tuple[str, ...]) -> None:
        paths = [Path(folder) for folder in folders]
        names = [path.name for path in paths]
        # Folders with the same name are distinguished by their paths.
        self._folders = dict(zip(names if len(set(names)) == len(names) else map(str, paths), paths, strict=True))
        self.classes = classes
        self.labelings = tuple(self._folders)

    def __call__(self, sample: Sample, image: NDArray[np.uint8]) -> LabelMaps:
        """Read the label maps of one image."""
        maps, files = {}, {}
        for name, folder in self._folders.items():
            path = folder / f"{sample.name}.png"
            # Maps of this package have the numbers of classes; others are like the data's.
            ids = sample.colors is not None or made_here(path)
            own = replace(sample, label=path, colors=None, classes=len(self.classes), void=() if ids else sample.void)
            maps[name] = read_label_map(own)
            files[name] = path
            if (wrong := wrong_size(maps[name], sample.image, image.shape)) is not None:
                raise InputError(f"{path}: {wrong}")
        return LabelMaps(maps, {}, files)


def with_maps(samples: ImageList, folders: Sequence[str | os.PathLike[str]]) -> ImageList:
    """Return the samples that have a label map `NAME.png` in each folder.

    Raises
    ------
    InputError
        If a folder does not exist, or there is no such sample.
    """
    left = list(samples.samples)
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise InputError(f"{folder}: expected a folder with label maps NAME.png; no such folder")
        left = [sample for sample in left if (folder / f"{sample.name}.png").is_file()]
        if not left:
            example = samples.samples[0].name
            raise InputError(
                f"{folder}: expected label maps such as {example}.png, got none of list {samples.name}'s images"
            )
    return samples if len(left) == len(samples) else image_list(samples.name, left)

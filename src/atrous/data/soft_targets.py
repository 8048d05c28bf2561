"""Soft targets for training: another network's scores (Papandreou et al. 2015; Hinton et al. 2015)."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .samples import ImageList, Sample
from .unary_io import read_array

_SUFFIXES = (".npy", ".npz")

# Tolerance for the sum of a cell's probabilities, which may be stored in half precision.
_SUM_TOLERANCE = 0.02


class SoftTargets:
    """Folder of scores with one file for each image of a list.

    Parameters
    ----------
    folder : path
        `NAME.npy`, or `NAME.npz` with one array, for each image: logits or probabilities (C, h, w) at any resolution.
        The corner cells lie on the image's corner pixels.
    images : ImageList
    classes : int
        Number of classes, C.

    Raises
    ------
    InputError
        If an image has no file.
    """

    def __init__(self, folder: str | os.PathLike[str], images: ImageList, classes: int) -> None:
        self.folder = Path(folder)
        self.classes = classes
        if not self.folder.is_dir():
            raise InputError(
                f"{self.folder}: expected a folder of soft targets, NAME.npy for each image; no such folder"
            )
        self._files: dict[str, Path] = {}
        for sample in images.samples:
            candidates = (self.folder / f"{sample.name}{suffix}" for suffix in _SUFFIXES)
            found = next((path for path in candidates if path.is_file()), None)
            if found is None:
                raise InputError(
                    f"{self.folder / sample.name}.npy: expected the scores of {sample.image} (.npy or .npz); no such"
                    " file; add it, or remove the"
                    f" image from list {images.name}"
                )
            self._files[sample.name] = found

    def at(
        self, sample: Sample, shape: tuple[int, int], rows: NDArray[np.float64], columns: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Interpolate an image's probabilities bilinearly at given pixels.

        Logits are interpolated before their softmax, as in the segmenter.

        Parameters
        ----------
        sample : Sample
        shape : (height, width)
            Of the image.
        rows, columns : (n,) and (m,) float
            Coordinates of pixels in the image.

        Returns
        -------
        (C, n, m) float32
            Probabilities; they sum to 1 over the classes.

        Raises
        ------
        InputError
            If the file cannot be read, has another shape, or contains neither logits nor probabilities.
        """
        path = self._files[sample.name]
        scores = self._checked(read_array(path), path)
        logits = _are_logits(scores, path)
        for axis, places, side in ((1, rows, shape[0]), (2, columns, shape[1])):
            scores = _interpolated(scores, axis, places * ((scores.shape[axis] - 1) / max(side - 1, 1)))
        values = scores.astype(np.float32)
        if logits:
            values = np.exp(values - values.max(axis=0))
        return values / values.sum(axis=0)

    def _checked(self, scores: NDArray[Any], path: Path) -> NDArray[Any]:
        if scores.dtype.kind != "f":
            raise InputError(f"{path}: expected logits or probabilities as floats, got {scores.dtype}")
        if scores.ndim == 3 and scores.size and len(scores) == self.classes:
            return scores
        # Not transposed silently: on a coarse grid, h or w may equal the number of classes.
        remedy = "; transpose(2, 0, 1) puts the classes first" if scores.shape[2:] == (self.classes,) else ""
        raise InputError(f"{path}: expected shape ({self.classes}, h, w), classes first, got {scores.shape}{remedy}")


def _are_logits(scores: NDArray[Any], path: Path) -> bool:
    """Return whether scores are logits. Probabilities lie between 0 and 1 and sum to 1."""
    low, high = float(scores.min()), float(scores.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{path}: expected logits or probabilities, got NaN or infinity")
    if low < 0 or high > 1 + _SUM_TOLERANCE:
        return True
    sums = scores.sum(axis=0, dtype=np.float32)
    if np.abs(sums - 1).max() > _SUM_TOLERANCE:
        raise InputError(
            f"{path}: expected probabilities that sum to 1, or logits, got values from {low:.3g} to {high:.3g} that"
            " sum to"
            f" {sums.min():.3g} to {sums.max():.3g} over the classes"
        )
    return False


def _interpolated(scores: NDArray[Any], axis: int, places: NDArray[np.float64]) -> NDArray[Any]:
    """Interpolate scores linearly at fractional positions along an axis."""
    first = np.clip(places.astype(np.intp), 0, max(scores.shape[axis] - 2, 0))
    second = np.minimum(first + 1, scores.shape[axis] - 1)
    share = np.clip(places - first, 0, 1).astype(np.float32)
    share = share.reshape([-1 if a == axis else 1 for a in range(scores.ndim)])
    before, after = (np.take(scores, where, axis).astype(np.float32) for where in (first, second))
    return before + (after - before) * share

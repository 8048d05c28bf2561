"""What is known of each pixel's label before the CRF: probabilities from any network, or a label map."""

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..crf.unary import LARGEST_PROBABILITY
from ..errors import InputError
from ..labelmap import read_labels
from .folder_dataset import read_classes
from .metadata import VOC_CLASSES

Planes: TypeAlias = tuple[NDArray[np.float32], NDArray[np.intp]]


def class_names(path: Path | None, count: int, *, ids: bool) -> tuple[str, ...]:
    """Read a class list as `read_classes` does; without one take VOC's names where they can be meant, else numbers.

    Probabilities of 21 classes are taken for VOC's, `ids` of a label map for VOC's as long as there are no others.
    """
    if path is None:
        voc = count <= len(VOC_CLASSES) if ids else count == len(VOC_CLASSES)
        return VOC_CLASSES if voc else tuple(f"class {c}" for c in range(count))
    names = read_classes(path)
    if len(names) < count:
        raise InputError(f"{path}: {len(names)} names; expected {count}, one for each class, in order")
    return names


def read_probabilities(path: Path, shape: tuple[int, int], confidence: float | None) -> Planes:
    """Read what is known of each pixel's label, as (K, H, W) probabilities and the K labels' ids.

    Parameters
    ----------
    path : Path
        .npy or .npz with probabilities (C, H, W) or (H, W, C), or an index PNG; in the PNG 255 means unknown.
    shape : (H, W)
        Of the photo.
    confidence : float or None
        Probability of the PNG's labels; the rest is shared by the other labels. 0.7 if None.

    Raises
    ------
    InputError
        If the file cannot be read or does not fit the photo.
    """
    if path.suffix.lower() in (".npy", ".npz"):
        if confidence is not None:
            raise InputError(f"confidence {confidence}: is for an index PNG, not for probabilities ({path})")
        given = _fitted(read_array(path), path, shape)
        return given, np.arange(len(given))
    ids = read_labels(path)
    if ids.shape != shape:
        raise InputError(f"{path}: {_size(ids.shape)}, but the photo is {_size(shape)}; they have to be of one size")
    return probabilities_from_labels(ids, 0.7 if confidence is None else confidence, str(path))


def probabilities_from_labels(ids: NDArray[np.uint8], confidence: float, source: str) -> Planes:
    """Give each label of (H, W) ids the probability `confidence`; pixels of id 255 are uniform.

    Returns
    -------
    (K, H, W) float32 and (K,) int
        Of the labels that occur, and their ids.
    """
    known = ids != 255
    kept = np.unique(ids[known]).astype(np.intp)
    if len(kept) < 2:
        raise InputError(f"{source}: holds {len(kept)} label(s) beside 255 (unknown); expected two at least")
    if not 1 / len(kept) < confidence < 1:
        raise InputError(f"confidence {confidence}: expected above {1 / len(kept):.3g} (1 / labels) and under 1")
    out = np.full((len(kept), *ids.shape), (1 - confidence) / (len(kept) - 1), np.float32)
    for plane, label in zip(out, kept, strict=True):
        plane[ids == label] = confidence
    out[:, ~known] = 1 / len(kept)
    return out, kept


def read_array(path: Path) -> NDArray[np.generic]:
    """Read an array saved by numpy.save, or the one array of an archive saved by numpy.savez.

    Raises
    ------
    InputError
        If the file is missing, damaged or holds something else.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected an array saved by numpy.save or numpy.savez")
    try:
        # Mapped, a header that promises more than the file holds is found before memory is taken.
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            if len(loaded.files) != 1:
                raise InputError(f"{path}: expected an archive of one array, got {len(loaded.files)}")
            return loaded[loaded.files[0]]
    except InputError:
        raise
    except Exception as error:  # on damaged headers and archives NumPy raises nearly anything
        # NumPy takes whatever has no header for a pickle, and advises to load it all the same.
        reason = "" if "pickle" in str(error) else f" ({' '.join(str(error).split())[:200]})"
        raise InputError(f"{path}: not an array saved by numpy.save or numpy.savez{reason}") from None


def _fitted(array: NDArray[np.generic], path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    if array.dtype.kind != "f":
        raise InputError(f"{path}: holds {array.dtype}; expected probabilities as floats, from 0 to 1")
    first, last = array.ndim == 3 and array.shape[1:] == shape, array.ndim == 3 and array.shape[:2] == shape
    if not first and not last:
        h, w = shape
        raise InputError(
            f"{path}: shape {array.shape} does not fit the upright photo; expected (C, {h}, {w}) or ({h}, {w}, C)"
        )
    if first and last:
        raise InputError(f"{path}: shape {array.shape} could be (C, H, W) or (H, W, C) of this photo; pad photo and it")
    with np.errstate(over="ignore"):  # what becomes infinite is found below
        values = array.astype(np.float32)
    values = values if first else np.ascontiguousarray(values.transpose(2, 0, 1))
    if not 2 <= len(values) <= 255:
        raise InputError(
            f"{path}: {len(values)} class(es); expected 2 to 255 (of one probability p, stack 1 - p and p)"
        )
    if np.isnan(values).any():
        place = np.argwhere(np.isnan(values))[0]
        raise InputError(f"{path}: NaN at class {place[0]}, row {place[1]}, column {place[2]}; expected 0 to 1")
    if values.min() < 0 or values.max() > LARGEST_PROBABILITY:
        raise InputError(
            f"{path}: values from {values.min():.3g} to {values.max():.3g}; expected probabilities, 0 to 1"
            " (of scores take the softmax first)"
        )
    if (empty := np.argwhere(values.max(axis=0) == 0)).size:
        raise InputError(f"{path}: all classes are 0 at row {empty[0, 0]}, column {empty[0, 1]}; expected a sum of 1")
    return values


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} pixels"

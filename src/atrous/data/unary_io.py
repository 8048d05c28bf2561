"""Inputs of the CRF: probabilities from any network, or a label map."""

import io
import math
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..crf.unary import LARGEST_PROBABILITY, UNKNOWN, label_probabilities
from ..errors import InputError
from ..labelmap import read_labels
from .folder_dataset import read_classes
from .metadata import VOC_CLASSES

Planes: TypeAlias = tuple[NDArray[np.float32], NDArray[np.intp]]


def class_names(path: Path | None, count: int, *, ids: bool) -> tuple[str, ...]:
    """Read class names as `read_classes` does. Default: VOC's names if the number fits, else numbers.

    VOC's names are used for probabilities of 21 classes, and for a label map (`ids`) whose ids are all below 21.
    """
    if path is None:
        voc = count <= len(VOC_CLASSES) if ids else count == len(VOC_CLASSES)
        return VOC_CLASSES if voc else tuple(f"class {c}" for c in range(count))
    names = read_classes(path)
    if len(names) < count:
        raise InputError(f"{path}: expected {count} names, one per class in order, got {len(names)}")
    return names


def read_probabilities(path: Path, shape: tuple[int, int], confidence: float | None) -> Planes:
    """Read (K, H, W) probabilities and the ids of their K labels.

    Parameters
    ----------
    path : Path
        .npy or .npz with probabilities (C, H, W) or (H, W, C), or an index PNG, in which 255 means unknown.
    shape : (H, W)
        Of the image.
    confidence : float or None
        Probability of the PNG's labels; the other labels share the rest. None means 0.7.

    Raises
    ------
    InputError
        If the file cannot be read, or its size differs from the image's.
    """
    if path.suffix.lower() in (".npy", ".npz"):
        if confidence is not None:
            raise InputError(
                f"confidence={confidence}: expected None for probabilities ({path}); it applies to index PNGs"
            )
        given = fit_probabilities(read_array(path), str(path), shape)
        return given, np.arange(len(given))
    ids = read_labels(path)
    if ids.shape != shape:
        raise InputError(f"{path}: expected the image's size, {_size(shape)}, got {_size(ids.shape)}")
    return probabilities_from_labels(ids, 0.7 if confidence is None else confidence, str(path))


def probabilities_from_labels(ids: NDArray[np.uint8], confidence: float, source: str) -> Planes:
    """Return (K, H, W) probabilities with `confidence` for each pixel's label. Pixels of id 255 are uniform.

    Returns
    -------
    (K, H, W) float32 and (K,) int
        Probabilities of the labels that occur, and their ids.
    """
    present = np.unique(ids[ids != UNKNOWN]).astype(np.intp)
    if len(present) < 2:
        raise InputError(f"{source}: expected at least two labels besides 255 (unknown), got {len(present)}")
    places = np.full(256, UNKNOWN)
    places[present] = np.arange(len(present))
    return label_probabilities(places[ids], confidence, ids.shape), present


def read_array(path: Path) -> NDArray[np.generic]:
    """Read an array saved by numpy.save, or the one array of an archive saved by numpy.savez.

    Raises
    ------
    InputError
        If the file is missing, damaged or contains something else.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected an array saved by numpy.save or numpy.savez; no such file")
    try:
        # Memory mapping detects a header that claims more than the file contains before memory is allocated.
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            if len(loaded.files) != 1:
                raise InputError(f"{path}: expected an archive of one array, got {len(loaded.files)}")
            return loaded[loaded.files[0]]
    except InputError:
        raise
    except Exception as error:  # NumPy raises many types of errors for damaged files
        # NumPy treats files without a header as pickles, and its message recommends loading them.
        reason = "" if "pickle" in str(error) else f" ({' '.join(str(error).split())[:200]})"
        raise InputError(f"{path}: expected an array saved by numpy.save or numpy.savez{reason}") from None


def parse_array(content: bytes, name: str) -> NDArray[np.generic]:
    """Return the array in the content of a file saved by numpy.save, without copying it.

    Parameters
    ----------
    content : bytes
    name : str
        Name of the file in messages.

    Raises
    ------
    InputError
        If the content is damaged or contains Python objects.
    """
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(file)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
            raise ValueError("the header does not fit the content")
        values = np.frombuffer(content, dtype, offset=file.tell())
        return values.reshape(shape, order="F" if by_columns else "C")
    except Exception as error:  # NumPy raises many types of errors for damaged headers
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: expected an array saved by numpy.save ({reason})") from None


def fit_probabilities(array: NDArray[np.generic], path: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Check probabilities, (C, H, W) or (H, W, C) floats, and return them as (C, H, W) float32.

    Parameters
    ----------
    array : array
    path : str
        Name of the file in messages.
    shape : (H, W)
        Size of the image.

    Raises
    ------
    InputError
        If they do not fit the image, or are not probabilities.
    """
    if array.dtype.kind != "f":
        raise InputError(f"{path}: expected probabilities as floats, from 0 to 1, got {array.dtype}")
    first, last = array.ndim == 3 and array.shape[1:] == shape, array.ndim == 3 and array.shape[:2] == shape
    if not first and not last:
        h, w = shape
        raise InputError(
            f"{path}: expected shape (C, {h}, {w}) or ({h}, {w}, C), as the upright image, got {array.shape}"
        )
    if first and last:
        raise InputError(
            f"{path}: ambiguous shape {array.shape}: both (C, H, W) and (H, W, C) fit; pad image and array"
        )
    with np.errstate(over="ignore"):  # infinity is detected below
        values = array.astype(np.float32)
    values = values if first else np.ascontiguousarray(values.transpose(2, 0, 1))
    if not 2 <= len(values) <= 255:
        raise InputError(
            f"{path}: expected 2 to 255 classes, got {len(values)}; for one probability p, stack 1 - p and p"
        )
    if np.isnan(values).any():
        place = np.argwhere(np.isnan(values))[0]
        raise InputError(f"{path}: expected 0 to 1, got NaN at class {place[0]}, row {place[1]}, column {place[2]}")
    if values.min() < 0 or values.max() > LARGEST_PROBABILITY:
        raise InputError(
            f"{path}: expected probabilities from 0 to 1, got {values.min():.3g} to {values.max():.3g};"
            " apply the softmax to scores first"
        )
    if (empty := np.argwhere(values.max(axis=0) == 0)).size:
        raise InputError(
            f"{path}: expected a sum of 1, got 0 for all classes at row {empty[0, 0]}, column {empty[0, 1]}"
        )
    return values


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} pixels"

"""Inputs of the CRF: probabilities from any network, or a label map."""

import io
import math
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._file_kinds import HEAD, refuse_foreign
from ..crf.unary import LARGEST_PROBABILITY, UNKNOWN, label_probabilities
from ..errors import InputError
from ..image_io.decode import Source, decode
from ..labelmap.png import label_ids
from .folder_dataset import read_classes
from .metadata import VOC_CLASSES

_ARRAY = "an array saved by numpy.save or numpy.savez"

# A gray mask with more values is a soft matte. Label maps of 150 classes have up to about 50 in an image.
_MOST_IDS = 64
# So is one of 0 and 255 with shades between that are no ids: data sets number their classes up to 181 (COCO-Stuff).
_LARGEST_ID = 181

# How far resizing with a cubic filter may leave the range from 0 to 1.
_OVERSHOOT = 0.15

Planes: TypeAlias = tuple[NDArray[np.float32], NDArray[np.intp]]


def class_names(path: Path | None, count: int, *, ids: bool) -> tuple[str, ...]:
    """Read class names as `read_classes` does. Default: VOC's for probabilities of 21 classes, else numbers.

    The ids of a label map (`ids`) have no names of their own, except that two are background and foreground.
    """
    if path is None:
        if count == 2:
            return "background", "foreground"
        voc = count == len(VOC_CLASSES) and not ids
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
        .npy or .npz with probabilities (C, H, W) or (H, W, C), those of the foreground (H, W), or ids (H, W); or a PNG:
        ids, in which 255 means unknown; a mask of 0 and 255 or of 1 bit; or a soft matte, in gray or as transparency.
    shape : (H, W)
        Of the image.
    confidence : float or None
        Probability of ids and of a mask's labels; the other labels share the rest. None means 0.7.

    Raises
    ------
    InputError
        If the file cannot be read, or its size differs from the image's.
    """
    if path.suffix.lower() in (".pt", ".pth"):
        raise InputError(f"{path}: expected a PNG or {_ARRAY}, got PyTorch; use numpy.save(NAME, tensor.numpy())")
    ids = _array_or_ids(path) if path.suffix.lower() in (".npy", ".npz") else read_mask(path, str(path))
    if ids.ndim == 2 and ids.shape != shape:
        raise InputError(f"{path}: expected the image's size, {_size(shape)}, got {_size(ids.shape)}")
    if ids.dtype != np.uint8 or ids.ndim != 2:
        given = fit_probabilities(ids, str(path), shape)
        if not (given.max(axis=0) == 1).all():
            if confidence is not None:
                raise InputError(f"confidence={confidence}: {path} contains probabilities; it applies to ids and masks")
            return given, np.arange(len(given))
        ids = given.argmax(axis=0).astype(np.uint8)  # a hard mask or one-hot, of which the CRF would change nothing
    return probabilities_from_labels(ids, 0.7 if confidence is None else confidence, str(path))


def read_scores(path: Path) -> NDArray[Any]:
    """Read an array as `read_array` does; a batch of one image, or one plane, loses its axis."""
    array = read_array(path)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    for axis in (0, -1):
        if array.ndim == 3 and array.shape[axis] == 1:
            array = array.squeeze(axis)
    return array


def _array_or_ids(path: Path) -> NDArray[Any]:
    """Return the array of a file: ids (H, W) as uint8, mattes of whole numbers as 0 to 1, and others as they are."""
    array = read_scores(path)
    whole = array.dtype.kind in "iub"
    if array.ndim == 3 and whole and array.max() <= 1:  # one-hot
        return array.astype(np.float32)
    if array.ndim == 2 and array.dtype.kind == "f" and array.size:
        whole = float(array.max()) > 1 and bool((array == np.rint(array)).all())
    if array.ndim != 2 or not whole:
        return array
    if array.size and not 0 <= int(array.min()) <= int(array.max()) <= UNKNOWN:
        raise InputError(f"{path}: expected ids from 0 to {UNKNOWN} (unknown), got {array.min()} to {array.max()}")
    return _ids_or_matte(array.astype(np.uint8))


def read_mask(source: Source, name: str) -> NDArray[Any]:
    """Read a PNG of ids, a mask of 0 and 255 or of 1 bit, or a soft matte, in gray or as transparency.

    Parameters
    ----------
    source : path, bytes or binary file
    name : str
        Name of the file in messages.

    Returns
    -------
    (H, W) uint8 or float32
        Ids, 255 for unknown; or the foreground's probability in a soft matte, 0 to 1.

    Raises
    ------
    InputError
        If the file cannot be read or is not an 8-bit PNG.
    """
    decoded = decode(source, name, formats=("PNG",))
    image = decoded.image
    if image.mode == "1":
        return np.array(image, np.uint8)
    if image.mode == "RGB" and len(gray := np.asarray(image).reshape(-1, 3).T) and (gray == gray[0]).all():
        image = image.getchannel(0)
    elif image.mode in ("LA", "RGBA") and np.ptp(np.asarray(image.getchannel("A"))):
        image = image.getchannel("A")
    elif image.mode != "L" or decoded.stored.bits < 8:
        return label_ids(decoded, name)
    return _ids_or_matte(np.asarray(image))


def _ids_or_matte(values: NDArray[np.uint8]) -> NDArray[Any]:
    """Return a mask of 0 and 255 as 0 and 1, a soft matte or trimap as 0 to 1, and ids as they are."""
    found = np.unique(values).tolist()
    if found == [0, 255]:
        return values // 255
    between = found[1:-1]
    shades = found[:1] + found[-1:] == [0, 255] and (max(between) > _LARGEST_ID or between in ([127], [128]))
    return values / np.float32(255) if shades or len(found) > _MOST_IDS else values


def probabilities_from_labels(ids: NDArray[np.uint8], confidence: float, source: str) -> Planes:
    """Return (K, H, W) probabilities with `confidence` for each pixel's label. Pixels of id 255 are uniform.

    Returns
    -------
    (K, H, W) float32 and (K,) int
        Probabilities of the labels that occur, and their ids.
    """
    present = np.unique(ids[ids != UNKNOWN]).astype(np.intp)
    if len(present) == 1 and not (ids == UNKNOWN).any():  # such as an empty mask
        present = np.union1d(present, [0 if present[0] else 1])
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
        raise InputError(f"{path}: expected {_ARRAY}; no such file")
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
        with path.open("rb") as file:
            head = file.read(HEAD)
        refuse_foreign(path, head, _ARRAY)
        reason = "" if "pickle" in str(error) else f" ({' '.join(str(error).split())[:200]})"
        raise InputError(f"{path}: expected {_ARRAY}{reason}") from None


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
    """Check probabilities and return them as (C, H, W) float32.

    Parameters
    ----------
    array : (C, H, W) or (H, W, C) float, or those of the foreground, (H, W) or (1, H, W)
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
        raise InputError(
            f"{path}: expected probabilities as floats, from 0 to 1, got {array.dtype} {array.shape};"
            " divide values from 0 to 255 by 255"
        )
    if array.ndim == 2 and array.size and array.max() > 1 + _OVERSHOOT:  # before 1 - p is stacked
        raise InputError(
            f"{path}: expected the foreground's probabilities, 0 to 1, got {array.min():.3g} to {array.max():.3g};"
            " divide a matte by 255, or apply the sigmoid to scores"
        )
    planes = labels_first(array, path, shape)
    with np.errstate(over="ignore"):  # infinity is detected below
        values = planes.astype(np.float32, order="C")
    if not 2 <= len(values) <= 255:
        raise InputError(
            f"{path}: expected 2 to 255 classes, got {len(values)}; for one probability p, stack 1 - p and p"
        )
    if np.isnan(values).any():
        place = np.argwhere(np.isnan(values))[0]
        raise InputError(f"{path}: expected 0 to 1, got NaN at class {place[0]}, row {place[1]}, column {place[2]}")
    low, high = values.min(), values.max()
    over = low < 0 or high > LARGEST_PROBABILITY
    if over and low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT and abs(values.sum(axis=0) - 1).max() < 0.01:
        values = values.clip(0, 1)
        values /= values.sum(axis=0)
    elif over:
        raise InputError(
            f"{path}: expected probabilities from 0 to 1, got {low:.3g} to {high:.3g};"
            " apply the softmax to scores first"
        )
    if (empty := np.argwhere(values.max(axis=0) == 0)).size:
        raise InputError(
            f"{path}: expected a sum of 1, got 0 for all classes at row {empty[0, 0]}, column {empty[0, 1]}"
        )
    return values


def labels_first(array: NDArray[np.generic], path: str, shape: tuple[int, int]) -> NDArray[np.generic]:
    """Return probabilities in any layout of `fit_probabilities` as (C, H, W); their values are not checked."""
    if array.shape in (shape, (1, *shape)) and array.dtype.kind == "f":
        foreground = array.reshape(shape)
        return np.stack([1 - foreground, foreground])
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
    return array if first else array.transpose(2, 0, 1)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} pixels"

"""Unary terms: energies or probabilities in any layout, checked."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atrous.crf._array_interop import as_numpy
from atrous.errors import InputError, InputTypeError

Channels = Literal["first", "last"]

# Probabilities written in a lower precision may sum to a little more than 1.
LARGEST_PROBABILITY = 1.001

# Label of unlabeled points, and the default probability of given labels.
UNKNOWN = 255
CONFIDENCE = 0.7
_MOST_LABELS = 1 << 16

# Above, messages would be lost in float32 and sums could overflow.
_LARGEST_ENERGY = 1.0001e30


@dataclass(frozen=True, eq=False)
class Unary:
    """Probabilities or energies of `labels` labels, and the layout of their array.

    Attributes
    ----------
    name : {"probabilities", "energies"}
        The argument that held them.
    array : (C, *shape), (*shape, C), (B, C, *shape) or (B, *shape, C) array
    shape : tuple of int
        Of the variables.
    last : bool
        Whether labels are the last axis.
    given : array or tensor
        The argument itself.
    """

    name: Literal["probabilities", "energies"]
    array: NDArray[Any]
    shape: tuple[int, ...]
    last: bool
    given: object = None

    @property
    def labels(self) -> int:
        """C."""
        return self.array.shape[-1 if self.last else -1 - len(self.shape)]

    @property
    def batch(self) -> tuple[int, ...]:
        """``(B,)``, or ``()`` for a single one."""
        return self.array.shape[: self.array.ndim - len(self.shape) - 1]

    def planes(self, array: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Iterate over a batch in an array of this layout as planes (C, N), which are views if strides allow."""
        points = math.prod(self.shape)
        for one in array if self.batch else [array]:
            yield one.reshape(points, self.labels).T if self.last else one.reshape(self.labels, points)

    def readable(self, planes: NDArray[Any]) -> NDArray[np.float32]:
        """Return (C, N) planes for the native code: aligned float32 with any strides."""
        if planes.dtype == np.float32 and planes.flags.aligned:
            return planes
        with np.errstate(over="ignore"):
            return planes.astype(np.float32)

    def marginals(self, out: NDArray[Any] | None) -> tuple[NDArray[np.float32], bool]:
        """Return the array for the marginals, `out` if the native code can write to it, and whether it is all zeros."""
        writable = out is not None and out.dtype == np.float32 and out.flags.c_contiguous and out.flags.aligned
        # The first of a batch must not overwrite a later one.
        if writable and out is not None and (out is self.array or not np.may_share_memory(out, self.array)):
            return out, False
        # Planes of pruned labels are never written, so their pages take no memory.
        return np.zeros(self.array.shape, np.float32), True

    def can_run_in_place(self, q: NDArray[np.float32]) -> bool:
        """Return whether q is this array, in memory of this process alone, so that marginals may overwrite it."""
        return q is self.array and q.flags.owndata and not self.last and not self.batch

    def check_values(self, planes: NDArray[Any]) -> None:
        """Raise InputError for NaN, infinite values, and probabilities outside of 0 to 1."""
        low, high = float(planes.min()), float(planes.max())
        if self.name == "energies":
            if not (low >= -_LARGEST_ENERGY and high <= _LARGEST_ENERGY):
                raise InputError(
                    f"energies: expected finite values up to {_LARGEST_ENERGY:g}, got"
                    f" {'NaN' if np.isnan(low) else f'{low} to {high}'};"
                    " replace NaN and infinities"
                )
        elif not (low >= 0 and high <= LARGEST_PROBABILITY):
            got = (
                "NaN; replace it" if np.isnan(low) else f"{low} to {high}; apply a softmax to scores, or pass energies="
            )
            raise InputError(f"probabilities: expected values from 0 to 1, got {got}")


def is_hard(planes: NDArray[Any]) -> bool:
    """Return whether probabilities (C, N) are 1 for one label at every point, and not for the same one everywhere."""
    some = planes[:, : 1 << 10]
    if not (some.max(axis=0) == 1).all():
        return False
    labels = planes.argmax(axis=0)
    return bool((labels != labels[0]).any() and (planes.max(axis=0) == 1).all())


def read_unary(
    probabilities: ArrayLike | None,
    energies: ArrayLike | None,
    shape: tuple[int, ...],
    channels: Channels | None = None,
    labels: ArrayLike | None = None,
    confidence: float = CONFIDENCE,
) -> Unary:
    """Return a unary term with its layout, detected from the shape; values are not checked.

    Raises InputError unless exactly one of the three is passed, with numbers and a shape that fits.
    """
    given = [value for value in (probabilities, energies, labels) if value is not None]
    if len(given) != 1:
        raise InputError(
            f"probabilities: expected either probabilities, energies= or labels=, got {len(given)} of them"
        )
    if labels is not None:
        probabilities = label_probabilities(as_numpy("labels", labels), confidence, shape)
    if channels is not None and channels not in get_args(Channels):
        raise InputError(f"channels: expected 'first', 'last' or None, got {channels!r}")
    name: Literal["probabilities", "energies"] = "probabilities" if energies is None else "energies"
    array = as_numpy(name, probabilities if energies is None else energies)
    expected = _expected(shape, channels)
    if array.dtype.kind not in "fiub":
        raise InputTypeError(f"{name}: expected an array {expected} of float, got {array.dtype}")

    axes = len(shape)
    batched = array.ndim == axes + 2
    one = array.shape[1:] if batched else array.shape
    first = len(one) == axes + 1 and one[1:] == shape and channels != "last"
    last = len(one) == axes + 1 and one[:-1] == shape and channels != "first"
    if not (first and one[0]) and not (last and one[-1]):
        remedy = ""
        if array.shape == shape:
            remedy = "; for foreground probabilities p pass np.stack([1 - p, p]); for a mask pass labels="
        raise InputError(f"{name}: expected shape {expected}, or a batch of these, got {array.shape}{remedy}")
    unary = Unary(name, array, shape, not first, given[0])
    if unary.labels == 1:
        axis = -1 if unary.last else -1 - axes
        of_both = f"np.concatenate([1 - p, p], axis={axis})" if name == "probabilities" else "energies of both"
        raise InputError(
            f"{name}: expected at least two labels, got {array.shape}; for foreground probabilities p pass {of_both}"
        )
    if name == "probabilities":
        _check_meaning(unary)
    return unary


def _check_meaning(probabilities: Unary) -> None:
    """Raise InputError for labels that are written as probabilities, and for a volume that was read as a batch."""
    array, axes = probabilities.array, len(probabilities.shape)
    if any(is_hard(planes) for planes in probabilities.planes(array)):
        raise InputError(
            "probabilities: expected scores of a network, got 0 and 1 alone, which no CRF changes; pass labels= with a"
            " confidence"
        )
    if probabilities.batch and probabilities.last and _sum_to_1(array, 0) and not _sum_to_1(array, -1):
        raise InputError(
            f"probabilities: expected a batch of {_expected(probabilities.shape, 'last')}, got {array.shape}, whose"
            f" first axis sums to 1; of a volume pass the image with a last axis of bands, or {axes + 1} numbers as sxy"
        )


def _sum_to_1(array: NDArray[Any], axis: int) -> bool:
    return bool(np.abs(array.sum(axis, dtype=np.float64) - 1).max() < 1e-2)


def label_probabilities(labels: NDArray[Any], confidence: float, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return probabilities (C, *shape), or a batch (B, C, *shape), with `confidence` for the label of each point.

    The other labels, from 0 to the largest one, share the rest. All are equal if the label is 255.
    """
    if labels.dtype.kind == "f" and (labels == np.rint(labels)).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iub":
        remedy = (
            "; for foreground probabilities p pass np.stack([1 - p, p]) instead" if labels.dtype.kind == "f" else ""
        )
        raise InputTypeError(f"labels: expected whole numbers, got {labels.dtype}{remedy}")
    if labels.shape not in (shape, (*labels.shape[:1], *shape)) or labels.size == 0:
        raise InputError(f"labels: expected shape {shape}, or a batch of these, got {labels.shape}")
    known = labels != UNKNOWN
    low, high = (int(end(labels[known])) if known.any() else 0 for end in (np.min, np.max))
    # An empty mask is a mask; one of 0 and 255 probably does not mean unknown.
    if low < 0 or high > _MOST_LABELS or (high == 0 and not known.all()):
        raise InputError(
            f"labels: expected whole numbers from 0, and two labels or more besides {UNKNOWN} (unknown), got"
            f" {low} to {high}; for a mask of 0 and 255 pass mask == 255"
        )
    count = max(high, 1) + 1
    if not 1 / count < confidence < 1:
        raise InputError(f"confidence {confidence}: expected above {1 / count:.3g} (1 / labels) and below 1")
    out = np.full((*labels.shape[: -len(shape)], count, *shape), (1 - confidence) / (count - 1), np.float32)
    planes = np.moveaxis(out, -1 - len(shape), 0)
    for label, plane in enumerate(planes):
        plane[labels == label] = confidence
    planes[:, ~known] = 1 / count
    return out


def _expected(shape: tuple[int, ...], channels: Channels | None) -> str:
    points = ", ".join(map(str, shape))
    layouts = {"first": f"(C, {points}), labels first", "last": f"({points}, C), labels last"}
    return layouts[channels] if channels else f"(C, {points}) or ({points}, C)"

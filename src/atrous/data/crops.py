"""From a photo and its labels to what the network trains on (Chen et al. 2015; PAPER: Caffe's data layer)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from ..palette.colours import VOID

# Mean pixel of the VGG-16 training set, blue, green, red, 0 to 255.
MEAN_BGR = (104.008, 116.669, 122.675)

Image = NDArray[np.uint8]
Labels = NDArray[np.uint8]


def to_network(
    image: Image, mean: tuple[float, float, float] = MEAN_BGR, colour_order: Literal["BGR", "RGB"] = "BGR"
) -> NDArray[np.float32]:
    """Turn (H, W, 3) uint8 RGB into the network's (3, H, W) float32: in its colour order, 0 to 255, minus the mean."""
    ordered = image[..., ::-1] if colour_order == "BGR" else image
    centred = ordered.astype(np.float32) - np.asarray(mean, np.float32)
    return np.ascontiguousarray(centred.transpose(2, 0, 1))


def aligned_size(side: int) -> int:
    """Smallest 8 k - 7 that is at least `side`: sizes at which the score grid of stride 8 meets both corners."""
    return -(-(side + 7) // 8) * 8 - 7


def pad_bottom_right(blob: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Pad a (3, H, W) network input with zeros, which are the mean pixel, up to `height` x `width`."""
    _, h, w = blob.shape
    return np.pad(blob, ((0, 0), (0, max(height - h, 0)), (0, max(width - w, 0))))


def network_input(
    image: Image, mean: tuple[float, float, float] = MEAN_BGR, colour_order: Literal["BGR", "RGB"] = "BGR"
) -> NDArray[np.float32]:
    """Do as `to_network`, and pad at the bottom and right with zeros, which are the mean, to 8 k - 7 a side."""
    h, w, _ = image.shape
    return pad_bottom_right(to_network(image, mean, colour_order), aligned_size(h), aligned_size(w))


def random_crop(
    image: Image,
    labels: Labels,
    size: int,
    rng: np.random.Generator,
    *,
    scales: tuple[float, float] = (1.0, 1.0),
    mirror: bool = True,
) -> tuple[NDArray[np.float32], Labels]:
    """Cut a random square, padded at the bottom and right where the photo is smaller.

    Parameters
    ----------
    image : (H, W, 3) uint8
        RGB.
    labels : (H, W) uint8
        Class ids, 255 void.
    size : int
        Side of the crop in pixels, 8 k - 7.
    rng : numpy.random.Generator
        Draws the zoom, the position and the mirroring.
    scales : (float, float)
        Photo and labels are first zoomed by a factor drawn from between these two.
    mirror : bool
        Mirror half of the crops.

    Returns
    -------
    blob : (3, size, size) float32
        Network input; the mean pixel outside the photo.
    crop : (size, size) uint8
        Labels; void outside the photo.
    """
    if scales != (1.0, 1.0):
        image, labels = _zoomed(image, labels, float(rng.uniform(*scales)))
    h, w = labels.shape
    top = int(rng.integers(max(h - size, 0) + 1))
    left = int(rng.integers(max(w - size, 0) + 1))
    image = image[top : top + size, left : left + size]
    labels = labels[top : top + size, left : left + size]
    if mirror and rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    blob = pad_bottom_right(to_network(image), size, size)
    crop = np.full((size, size), VOID, np.uint8)
    crop[: labels.shape[0], : labels.shape[1]] = labels
    return blob, crop


def _zoomed(image: Image, labels: Labels, scale: float) -> tuple[Image, Labels]:
    """Photo blended, ids picked."""
    size = max(1, round(labels.shape[1] * scale)), max(1, round(labels.shape[0] * scale))
    photo = PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BILINEAR)
    ids = PillowImage.fromarray(labels).resize(size, PillowImage.Resampling.NEAREST)
    return np.asarray(photo), np.asarray(ids)


def shrink_labels(labels: Labels, stride: int = 8) -> Labels:
    """Labels at the cells of the score grid: ids are picked, never blended.

    With H = 8 k - 7 and align-corners geometry cell (i, j) lies exactly on pixel (8 i, 8 j).
    """
    return labels[..., ::stride, ::stride]

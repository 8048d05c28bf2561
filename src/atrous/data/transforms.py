"""Conversion of images and labels to network inputs and training crops (Chen et al. 2015; Caffe's data layer)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from ..labelmap.voc_colormap import VOID

# Mean pixel of VGG-16's training set: blue, green, red, 0 to 255.
MEAN_BGR = (104.008, 116.669, 122.675)

Image = NDArray[np.uint8]
Labels = NDArray[np.uint8]


def to_network(
    image: Image, mean: tuple[float, float, float] = MEAN_BGR, color_order: Literal["BGR", "RGB"] = "BGR"
) -> NDArray[np.float32]:
    """Convert (H, W, 3) uint8 RGB to the network's (3, H, W) float32: its color order, 0 to 255, minus the mean."""
    ordered = image[..., ::-1] if color_order == "BGR" else image
    centered = ordered.astype(np.float32) - np.asarray(mean, np.float32)
    return np.ascontiguousarray(centered.transpose(2, 0, 1))


def aligned_size(side: int) -> int:
    """Return the smallest 8 k - 7 that is at least `side`, so that the stride-8 grid meets both corner pixels."""
    return -(-(side + 7) // 8) * 8 - 7


def pad_bottom_right(blob: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Pad a (3, H, W) network input to `height` x `width` with zeros, which represent the mean pixel."""
    _, h, w = blob.shape
    return np.pad(blob, ((0, 0), (0, max(height - h, 0)), (0, max(width - w, 0))))


def network_input(
    image: Image, mean: tuple[float, float, float] = MEAN_BGR, color_order: Literal["BGR", "RGB"] = "BGR"
) -> NDArray[np.float32]:
    """Convert as `to_network`, and pad at the bottom and right with zeros, the mean pixel, to sides of 8 k - 7."""
    h, w, _ = image.shape
    return pad_bottom_right(to_network(image, mean, color_order), aligned_size(h), aligned_size(w))


@dataclass(frozen=True)
class CropWindow:
    """Part of an image that a training crop shows.

    Attributes
    ----------
    image : (int, int)
        Height and width of the image before resizing.
    resized : (int, int)
        Height and width after resizing.
    top, left : int
        First pixel of the crop in the resized image.
    mirrored : bool
        Whether the crop is flipped horizontally.
    size : int
        Side of the crop. If the resized image is smaller, the crop is padded at the bottom and right.
    """

    image: tuple[int, int]
    resized: tuple[int, int]
    top: int
    left: int
    mirrored: bool
    size: int

    @property
    def inside(self) -> tuple[int, int]:
        """Height and width of the crop without padding."""
        height, width = self.resized
        return min(self.size, height - self.top), min(self.size, width - self.left)

    def cells(self, stride: int = 8) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the positions of the score grid's cells in the image, as in `shrink_labels`.

        Returns
        -------
        rows, columns : (n,) and (m,) float64
            Pixel coordinates in the image before resizing, for the cells inside it. Pixel centers are whole numbers.
        """
        height, width = self.inside
        y, x = np.arange(0, height, stride), np.arange(0, width, stride)
        if self.mirrored:
            x = width - 1 - x
        return tuple(  # type: ignore[return-value]
            ((start + cell + 0.5) * (before / after) - 0.5).clip(0, before - 1)
            for start, cell, before, after in zip((self.top, self.left), (y, x), self.image, self.resized, strict=True)
        )


def draw_window(
    shape: tuple[int, int],
    size: int,
    rng: np.random.Generator,
    *,
    scales: tuple[float, float] = (1.0, 1.0),
    mirror: bool = True,
) -> CropWindow:
    """Draw a random crop window.

    Parameters
    ----------
    shape : (height, width)
        Of the image.
    size : int
        Side of the crop in pixels, 8 k - 7.
    rng : numpy.random.Generator
        Draws scale, position and flip, in this order.
    scales : (float, float)
        Range of the random factor by which the image is first resized.
    mirror : bool
        Whether to flip half of the crops horizontally.
    """
    height, width = shape
    if scales != (1.0, 1.0):
        scale = float(rng.uniform(*scales))
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
    top = int(rng.integers(max(height - size, 0) + 1))
    left = int(rng.integers(max(width - size, 0) + 1))
    return CropWindow(shape, (height, width), top, left, bool(mirror and rng.random() < 0.5), size)


def cut(image: Image, labels: Labels, window: CropWindow) -> tuple[NDArray[np.float32], Labels]:
    """Return a training crop.

    Parameters
    ----------
    image : (H, W, 3) uint8
        RGB.
    labels : (H, W) uint8
        Class ids, 255 void.
    window : CropWindow

    Returns
    -------
    blob : (3, size, size) float32
        Network input, with the mean pixel outside the image.
    crop : (size, size) uint8
        Labels, void outside the image.
    """
    if window.resized != window.image:
        image, labels = _resized(image, labels, window.resized)
    (h, w), size = window.inside, window.size
    rows, columns = slice(window.top, window.top + h), slice(window.left, window.left + w)
    image, labels = image[rows, columns], labels[rows, columns]
    if window.mirrored:
        image, labels = image[:, ::-1], labels[:, ::-1]
    blob = pad_bottom_right(to_network(image), size, size)
    crop = np.full((size, size), VOID, np.uint8)
    crop[:h, :w] = labels
    return blob, crop


def _resized(image: Image, labels: Labels, shape: tuple[int, int]) -> tuple[Image, Labels]:
    """Resize the image bilinearly and the labels by nearest neighbor."""
    size = shape[1], shape[0]
    colors = PillowImage.fromarray(image).resize(size, PillowImage.Resampling.BILINEAR)
    ids = PillowImage.fromarray(labels).resize(size, PillowImage.Resampling.NEAREST)
    return np.asarray(colors), np.asarray(ids)


def shrink_labels(labels: Labels, stride: int = 8) -> Labels:
    """Return the labels at the cells of the score grid, subsampled without interpolation.

    With H = 8 k - 7 and aligned corners, cell (i, j) lies exactly on pixel (8 i, 8 j).
    """
    return labels[..., ::stride, ::stride]

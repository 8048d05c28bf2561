"""Inputs of the CRF benchmark: natural images, and the bundled network's probabilities for them.

Scenes of 375 x 500 pixels: `plain` and `textured` are images resized to cover that size and cropped in the middle;
`busy` shows the three example images, one of them twice, at half that size. The scene `mosaic`, 1024 x 2048, tiles the
images at their own scale, so its texture is that of real images and not of an enlargement: each is mirrored at its
borders to 512 x 512, and every second one is flipped. It contains more classes than a typical image. `mirrored`, of the
same size, is the image of `plain` at its own scale, mirrored repeatedly. Larger sizes of both are mirrored further;
smaller ones are cut from the middle.
"""

import hashlib
import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import atrous
from atrous import _native
from atrous._io import replacing
from atrous.backends import bundled_model_path
from atrous.crf import Bilateral, Spatial
from atrous.image_io.decode import read_image

ROOT = Path(__file__).parents[1]
CACHE = ROOT / "build" / "crf-inputs"
HEIGHT, WIDTH = 375, 500
KERNELS = (Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=49, srgb=5))
ITERATIONS = 10

_IMAGES = {name: ROOT / "examples" / f"{name}.jpg" for name in ("cat", "astronaut", "photographer")}
_TILES = (("astronaut", "cat", "photographer", "astronaut"), ("cat", "photographer", "astronaut", "cat"))
_TILE = 512


def covering(name, height, width):
    """Return an example image resized to cover height x width and cropped in the middle."""
    image = Image.fromarray(read_image(_IMAGES[name]))
    return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS))


def _busy():
    half = (HEIGHT + 1) // 2, WIDTH // 2
    cat, astronaut, photographer = (covering(name, *half) for name in _IMAGES)
    rows = [cat, astronaut], [astronaut[:, ::-1], photographer]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])[:HEIGHT]


def _mosaic():
    rows = []
    for names in _TILES:
        tiles = [mirrored(read_image(_IMAGES[name]), _TILE, _TILE) for name in names]
        rows.append(np.concatenate([tile[:, :: (-1) ** column] for column, tile in enumerate(tiles)], axis=1))
    return np.concatenate(rows)


_SCENES = {
    "plain": lambda: covering("cat", HEIGHT, WIDTH),
    "textured": lambda: covering("astronaut", HEIGHT, WIDTH),
    "busy": _busy,
    "mosaic": _mosaic,
    "mirrored": lambda: mirrored(read_image(_IMAGES["cat"]), 2 * _TILE, 4 * _TILE),
}
SCENES = tuple(_SCENES)


def mirrored(image, height, width):
    """Extend an (H, W, ...) array to height x width by mirroring it."""
    rest = [(0, 0)] * (image.ndim - 2)
    extent = [(0, max(0, height - image.shape[0])), (0, max(0, width - image.shape[1]))]
    return np.pad(image, extent + rest, mode="symmetric")[:height, :width]


def _sized(array, height, width):
    """Crop height x width from the middle of an (H, W, ...) array, or mirror it to that size."""
    top, left = (max(0, (have - want) // 2) for have, want in zip(array.shape, (height, width), strict=False))
    return np.ascontiguousarray(mirrored(array[top : top + height, left : left + width], height, width))


@cache
def scene(name):
    """Return a scene's image (H, W, 3) uint8 and the network's probabilities (21, H, W) float32.

    The network runs on the scene at its own scale. Its output is cached in a file.
    """
    image = np.ascontiguousarray(_SCENES[name]())
    key = hashlib.sha256(image.tobytes() + bundled_model_path().read_bytes()).hexdigest()[:16]
    path = CACHE / f"{name}-{key}.npy"
    if not path.exists():
        probabilities = atrous.Segmenter(crf=None, max_side=max(image.shape)).probabilities(image)
        buffer = io.BytesIO()
        np.save(buffer, probabilities)
        CACHE.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(buffer.getvalue())
    return image, np.load(path)


def softened(probabilities, temperature):
    """Return the softmax of the log-probabilities divided by a temperature."""
    powers = probabilities ** np.float32(1 / temperature)
    return powers / powers.sum(axis=0)


def load(name, height, width, labels, temperature=1):
    """Return a scene at a size, (H, W, 3) uint8, and probabilities of so many labels, (labels, H, W) float32."""
    image, probabilities = scene(name)
    chosen = with_labels(probabilities, labels)
    if temperature != 1:
        chosen = softened(chosen, temperature)
    planes = np.empty((labels, height, width), np.float32)
    for plane, source in zip(planes, chosen, strict=True):
        plane[:] = _sized(source, height, width)
    return _sized(image, height, width), planes


def with_labels(probabilities, labels):
    """Reduce or extend (21, H, W) probabilities to (labels, H, W).

    Two labels: the most frequent class against all others. 3 to 18: the classes of the largest mass, and the rest as
    one. 19, 20: without the classes of the smallest mass, normalized again. More than 21: see `_split`.
    """
    classes = len(probabilities)
    if labels == classes:
        return probabilities
    if labels > classes:
        return _split(probabilities, labels)
    if labels == 2:
        order = np.argsort(-np.bincount(probabilities.argmax(axis=0).ravel(), minlength=classes), kind="stable")
    else:
        order = np.argsort(-probabilities.sum(axis=(1, 2)), kind="stable")
    if labels >= 19:
        largest = probabilities[np.sort(order[:labels])]
        return largest / largest.sum(axis=0)
    chosen = probabilities[order[: labels - 1]]
    return np.concatenate([chosen, np.maximum(0, 1 - chosen.sum(axis=0, keepdims=True))])


def _split(probabilities, labels):
    """Divide classes into parts, four fifths of them from classes that are the most probable ones at some pixel.

    The shares of a class's parts are a softmax of smooth random fields, so each part dominates some region of its
    class.
    """
    random = np.random.default_rng(0)
    present = np.isin(np.arange(len(probabilities)), probabilities.argmax(axis=0))
    extra = labels - len(probabilities)
    parts = np.ones(len(probabilities), int)
    groups = np.flatnonzero(present), np.flatnonzero(~present)
    first = extra if groups[1].size == 0 else (4 * extra + 4) // 5
    for group, count in zip(groups, (first, extra - first), strict=True):
        for number in range(count):
            parts[group[number % group.size]] += 1
    planes = []
    for plane, count in zip(probabilities, parts, strict=True):
        fields = np.stack([_smooth_field(random, *plane.shape) for _ in range(count)])
        exponentials = np.exp(fields - fields.max(axis=0))
        planes.append(plane * (exponentials / exponentials.sum(axis=0)))
    return np.concatenate(planes).astype(np.float32)


def _smooth_field(random, height, width, cell=60, contrast=4):
    coarse = random.normal(scale=contrast, size=(height // cell + 2, width // cell + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def lattice_share(image):
    """Return the number of lattice vertices of the bilateral kernel per pixel, which is high for textured images."""
    features = KERNELS[1].features(image, image.shape[:2], np.float32)
    return _native.lattice(features, 1).vertices / features.shape[1]

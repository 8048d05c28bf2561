import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.errors import InputError
from atrous.segmenter import Segmentation

CLASSES = ("background", "diningtable", "cow")


def segmentation(labels, **more):
    """Return a segmentation of a gray image with these labels."""
    planes = np.stack([np.asarray(labels) == label for label in range(3)]).astype(np.float32)
    image = np.full((*planes.shape[1:], 3), 100, np.uint8)
    return Segmentation(image, planes, CLASSES, ((0, 0, 0), (128, 0, 0), (0, 128, 0)), **more)


HALVES = np.zeros((60, 80), np.uint8)
HALVES[:, 30:50], HALVES[:, 50:], HALVES[5, 5] = 1, 2, 2


def test_small_regions_are_removed():
    assert segmentation(HALVES, min_region=0).labels[5, 5] == 2
    assert segmentation(HALVES, min_region=2).labels[5, 5] == 0
    assert segmentation(HALVES).labels[5, 5] == 2  # the default is below a pixel here
    large = np.kron(HALVES, np.ones((9, 9), np.uint8))  # 81 pixels, fewer than 30 * 540 * 720 / 513^2
    assert large.shape == (540, 720)
    assert segmentation(large, min_region=82).labels[50, 50] == 0


def test_masks_and_selections():
    found = segmentation(HALVES, min_region=0)
    assert found.mask("cow").sum() == 60 * 30 + 1
    assert (found.mask("dining table") == found.mask("diningtable")).all()
    alone = found.select("cow")
    assert np.unique(alone.labels).tolist() == [0, 2]
    assert list(alone.shares()) == ["background", "cow"]
    for wrong in (found.mask, found.select, found.cutout):
        with pytest.raises(InputError, match="'horse'"):
            wrong("horse")


def test_a_cutout_is_transparent_elsewhere():
    found = segmentation(HALVES, min_region=0)
    cow, things = (np.asarray(found.cutout(*names).getchannel("A")) for names in (["cow"], []))
    assert cow[30, 70] == things[30, 70] == things[30, 40] == 255
    assert cow[30, 10] == cow[30, 40] == things[30, 10] == 0
    assert 0 < cow[30, 49] < 127 < cow[30, 50] < 255
    pixels = np.asarray(found.cutout("cow"))
    assert (pixels[30, 70, :3] == found.image[30, 70]).all()
    assert not pixels[pixels[..., 3] == 0].any()  # nothing of the photo is hidden behind the transparency


def test_polygons_are_of_things():
    outlines = segmentation(HALVES, min_region=2).polygons()
    assert {name: len(found) for name, found in outlines.items()} == {"diningtable": 1, "cow": 1}
    assert outlines["cow"][0].tolist() == [[50, 0], [80, 0], [80, 60], [50, 60]]


def test_in_a_notebook():
    found = segmentation(HALVES)
    assert "80x60" in repr(found)
    assert "\n" not in repr(found)
    assert "\n" not in repr(segmentation(HALVES, source=Path("two\nlines.jpg")))
    with Image.open(io.BytesIO(found._repr_png_())) as shown:
        assert (shown.format, shown.size) == ("PNG", (80, 60))


def test_a_large_image_is_scaled_down_in_a_notebook():
    found = segmentation(np.kron(HALVES, np.ones((32, 32), np.uint8)))
    with Image.open(io.BytesIO(found._repr_png_())) as shown:
        assert shown.size == (1024, 768)


def test_all_outputs_are_written(tmp_path):
    mask = segmentation(HALVES).save(tmp_path, "a", probabilities=True, cutout=["cow"])
    assert mask == tmp_path / "a.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("a.cutout.png", "a.overlay.jpg", "a.png", "a.probabilities.npy")
    ]

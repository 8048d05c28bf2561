import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atrous.labelmap.outlines import coco, coco_annotations, polygons, run_lengths
from atrous.labelmap.regions import connected_regions

MASKS = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def winding(shape, outlines):
    """Return how often the outlines wind around each pixel's center: signed crossings to its left."""
    number = np.zeros(shape, int)
    for outline in outlines:
        for (x0, y0), (x1, y1) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            if x0 == x1:
                number[min(y0, y1) : max(y0, y1), x0:] += 1 if y1 < y0 else -1
    return number


def area(outline):
    """Return twice the signed area of a polygon, positive if clockwise as seen (y points down)."""
    x, y = outline.astype(int).T
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


@settings(max_examples=300, deadline=None)
@given(MASKS)
def test_filled_outlines_are_the_mask(mask):
    np.testing.assert_array_equal(winding(mask.shape, polygons(mask)), mask.astype(int))


def test_a_ring_has_an_outer_outline_and_a_hole():
    ring = np.ones((5, 6), bool)
    ring[1:3, 2:4] = False
    outer, hole = polygons(ring)
    assert outer.tolist() == [[0, 0], [6, 0], [6, 5], [0, 5]]
    assert sorted(hole.tolist()) == [[2, 1], [2, 3], [4, 1], [4, 3]]
    assert area(outer) == 60
    assert area(hole) == -8


def test_pixels_that_touch_at_a_corner_have_outlines_of_their_own():
    assert [outline.tolist() for outline in polygons(np.eye(2, dtype=bool))] == [
        [[0, 0], [1, 0], [1, 1], [0, 1]],
        [[1, 1], [2, 1], [2, 2], [1, 2]],
    ]


def decoded(segmentation, shape):
    if isinstance(segmentation, list):
        return winding(shape, [np.array(one).reshape(-1, 2) for one in segmentation]) > 0
    counts = segmentation["counts"]
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return values.reshape(segmentation["size"], order="F")


@settings(max_examples=200, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 10), st.integers(1, 10)), elements=st.sampled_from([0, 1, 2, 255])))
def test_annotations_are_the_regions(labels):
    found = coco_annotations(labels, ("background", "cat", "dog"))
    seen = np.zeros(labels.shape, np.uint8)
    for one in found:
        mask = decoded(one["segmentation"], labels.shape)
        assert not seen[mask].any()
        seen[mask] = one["category_id"]
        assert one["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        x, y, width, height = one["bbox"]
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
    np.testing.assert_array_equal(seen, np.where(labels == 255, 0, labels))
    regions = connected_regions(labels)
    assert len(found) == len(np.unique(regions[(labels != 0) & (labels != 255)]))


def test_class_0_is_annotated_unless_it_is_the_background():
    labels = np.zeros((2, 3), np.uint8)
    assert coco_annotations(labels, ("background",)) == []
    (sky,) = coco_annotations(labels, ("sky",))
    assert sky["segmentation"] == [[0, 0, 3, 0, 3, 2, 0, 2]]


@pytest.mark.parametrize("first", [False, True])
def test_run_lengths_begin_with_false(first):
    mask = np.array([[first, True, True], [False, False, True]])
    assert run_lengths(mask)["counts"] == ([0, 1, 1, 1, 1, 2] if first else [2, 1, 1, 2])


def test_coco_numbers_images_and_regions():
    first = np.array([[1, 1, 0, 2]], np.uint8)
    made = coco([("a.jpg", first), ("b/c.jpg", np.zeros((3, 2), np.uint8)), ("d.jpg", first)], ("background", "x", "y"))
    assert made["images"][1] == {"id": 2, "file_name": "b/c.jpg", "width": 2, "height": 3}
    assert [(one["id"], one["image_id"], one["category_id"]) for one in made["annotations"]] == [
        *((1, 1, 1), (2, 1, 2), (3, 3, 1), (4, 3, 2))
    ]
    assert made["categories"] == [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]

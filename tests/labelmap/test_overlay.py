import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atrous.errors import InputError
from atrous.labelmap import overlay
from atrous.labelmap.overlay import _inner_border, box_sums, connected_regions, place_for_box


def test_regions_are_joined_along_sides_not_corners():
    labels = np.array([[1, 1, 0, 1], [0, 1, 0, 1], [2, 0, 1, 1]], np.uint8)
    assert connected_regions(labels).tolist() == [[0, 0, 2, 3], [4, 0, 2, 3], [8, 9, 3, 3]]


def test_a_spiral_is_one_region():
    spiral = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 1, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]], np.uint8)
    assert (connected_regions(spiral)[spiral == 1] == 0).all()


def test_box_sums():
    assert box_sums(np.arange(6, dtype=np.float32).reshape(2, 3), 2, 2).tolist() == [[8, 12]]


def test_a_name_lies_on_a_roomy_region_and_beside_a_small_one():
    roomy = np.zeros((40, 60), bool)
    roomy[10:35, 20:55] = True
    free = np.zeros_like(roomy)
    row, column = place_for_box(roomy, roomy, free, 4, 12)
    assert roomy[row : row + 4, column : column + 12].all()
    small = np.zeros_like(roomy)
    small[20:23, 30:34] = True
    row, column = place_for_box(small, small, free, 4, 12)
    assert not small[row : row + 4, column : column + 12].any()


def test_no_place_is_free():
    region = np.ones((4, 4), bool)
    assert place_for_box(region, region, region, 2, 2) is None
    assert place_for_box(region, region, ~region, 5, 2) is None


def test_background_stays_as_it_is_and_regions_are_colored():
    image = np.full((60, 80, 3), 100, np.uint8)
    labels = np.zeros((60, 80), np.uint8)
    labels[20:40, 30:60] = 1
    drawn = np.asarray(overlay(image, labels, ("background", "thing"), names=False))
    assert (drawn[:15] == 100).all()
    assert drawn[30, 45, 0] > 130 > 100 > drawn[30, 45, 1]
    assert drawn[20, 45].tolist() == [181, 0, 0]  # the outline is the region's color, lightened and opaque
    assert drawn[19, 45].tolist() == [255, 255, 255]  # a white line around it


def test_names_are_written():
    image = np.zeros((200, 300, 3), np.uint8)
    labels = np.zeros((200, 300), np.uint8)
    labels[50:150, 100:250] = 1
    plain, named = (np.asarray(overlay(image, labels, ("b", "thing"), names=n)) for n in (False, True))
    rows, columns = np.nonzero((plain != named).any(axis=2))
    assert 50 <= rows.min() <= rows.max() < 150
    assert 100 <= columns.min() <= columns.max() < 250


@settings(max_examples=25, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_any_labels_can_be_drawn(labels):
    image = np.zeros((*labels.shape, 3), np.uint8)
    assert overlay(image, labels, ("background", "a long name of a class")).size == labels.shape[::-1]


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 30), st.integers(1, 30)), elements=st.integers(0, 1)), st.integers(1, 40)
)
def test_borders_of_any_width(labels, width):
    """A pixel is near another label if one along its row or column is."""
    near = np.zeros(labels.shape, bool)
    for y, x in np.ndindex(labels.shape):
        row, column = labels[y, max(x - width, 0) : x + width + 1], labels[max(y - width, 0) : y + width + 1, x]
        near[y, x] = (row != labels[y, x]).any() or (column != labels[y, x]).any()
    np.testing.assert_array_equal(_inner_border(labels, width), near)


def test_labels_have_to_fit():
    with pytest.raises(InputError, match="do not fit"):
        overlay(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8), ("a",))

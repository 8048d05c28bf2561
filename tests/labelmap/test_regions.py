from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atrous.errors import InputError
from atrous.labelmap.regions import connected_regions, default_min_region, remove_small_regions

SMALL_MAPS = arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.integers(0, 2))


def flooded(labels):
    """Return the regions, numbered in the order of their first pixels, by a flood from each."""
    numbers = np.full(labels.shape, -1)
    for y, x in product(*map(range, labels.shape)):
        if numbers[y, x] >= 0:
            continue
        numbers[y, x], stack = numbers.max() + 1, [(y, x)]
        while stack:
            y0, x0 = stack.pop()
            for y1, x1 in ((y0 - 1, x0), (y0 + 1, x0), (y0, x0 - 1), (y0, x0 + 1)):
                inside = 0 <= y1 < labels.shape[0] and 0 <= x1 < labels.shape[1]
                if inside and numbers[y1, x1] < 0 and labels[y1, x1] == labels[y0, x0]:
                    numbers[y1, x1] = numbers[y0, x0]
                    stack.append((y1, x1))
    return numbers


def test_regions_are_joined_along_sides_not_corners():
    labels = np.array([[1, 1, 0, 1], [0, 1, 0, 1], [2, 0, 1, 1]], np.uint8)
    assert connected_regions(labels).tolist() == [[0, 0, 1, 2], [3, 0, 1, 2], [4, 5, 2, 2]]


@settings(max_examples=200, deadline=None)
@given(SMALL_MAPS)
def test_regions_are_those_of_a_flood(labels):
    np.testing.assert_array_equal(connected_regions(labels), flooded(labels))


def test_a_speck_joins_its_largest_neighbor():
    labels = np.array(
        [
            [1, 1, 1, 2, 2],
            [1, 1, 3, 2, 2],
            [1, 1, 1, 1, 2],
        ],
        np.uint8,
    )
    expected = labels.copy()
    expected[1, 2] = 1
    assert remove_small_regions(labels, 2).tolist() == expected.tolist()
    assert remove_small_regions(labels, 1).tolist() == labels.tolist()
    assert labels[1, 2] == 3


def test_small_regions_join_each_other_and_may_stay_then():
    labels = np.array([[0, 0, 0, 0, 0, 0], [0, 5, 5, 6, 0, 0], [0, 0, 0, 0, 0, 0]], np.uint8)
    # The 6 first; its largest neighbor is the background, not the 5s beside it.
    assert remove_small_regions(labels, 2).tolist()[1] == [0, 5, 5, 0, 0, 0]
    strip = np.array([[7, 7, 7, 8, 9, 9, 9, 9]], np.uint8)
    assert remove_small_regions(strip, 4).tolist() == [[9] * 8]


@settings(max_examples=200, deadline=None)
@given(SMALL_MAPS, st.integers(0, 30))
def test_no_small_region_is_left_and_large_ones_keep_their_pixels(labels, least):
    cleaned = remove_small_regions(labels, least)
    regions = connected_regions(cleaned)
    sizes = np.bincount(regions.ravel())
    assert len(sizes) == 1 or sizes.min() >= least
    before = connected_regions(labels)
    large = (np.bincount(before.ravel()) >= least)[before]
    np.testing.assert_array_equal(cleaned[large], labels[large])
    assert set(np.unique(cleaned)) <= set(np.unique(labels))


def test_the_default_grows_with_the_area():
    assert default_min_region((513, 513)) == 30
    assert default_min_region((1026, 1026)) == 120
    assert default_min_region((375, 500)) == 21
    labels = np.zeros((513, 513), np.uint8)
    labels[10:15, 10:15], labels[50:56, 50:55] = 1, 2  # 25 and 30 pixels
    assert np.unique(remove_small_regions(labels)).tolist() == [0, 2]


def test_a_negative_size_is_refused():
    with pytest.raises(InputError, match="min_region"):
        remove_small_regions(np.zeros((2, 2), np.uint8), -1)

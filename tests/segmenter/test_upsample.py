import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atrous.segmenter import upsample as zoom
from atrous.segmenter.upsample import places, upsampled_probabilities


def logits(probabilities):
    return np.log(probabilities[1] / probabilities[0])


def ramp(h, w):
    """Two classes whose difference of scores is 8 row + 0.5 * 8 column, in pixels: y + x / 2, over 100."""
    rows, columns = np.mgrid[:h, :w] * 8.0
    return np.stack([np.zeros((h, w)), (rows + columns / 2) / 100]).astype(np.float32)


def test_by_hand():
    first, share = places(2, 9, 9)
    assert first.tolist() == [0] * 9
    assert share.tolist() == [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1]
    first, share = places(3, 17, 4)  # centers of the photo's pixels: 1.625, 5.875, 10.125, 14.375
    assert first.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(share, [1.625 / 8, 5.875 / 8, 2.125 / 8, 6.375 / 8])
    assert [side.tolist() for side in places(1, 1, 3)] == [[0, 0, 0], [0, 0, 0]]


def test_a_ramp_is_exact_at_the_networks_own_size():
    upsampled = upsampled_probabilities(ramp(9, 13), (60, 97), (60, 97))
    y, x = np.mgrid[:60, :97]
    np.testing.assert_allclose(logits(upsampled), (y + x / 2) / 100, atol=1e-5)


def test_a_ramp_is_not_shifted_on_a_larger_photo():
    upsampled = upsampled_probabilities(ramp(9, 13), (60, 90), (240, 360))
    y, x = (np.mgrid[:240, :360] + 0.5) / 4 - 0.5  # centers of the photo's pixels, in the network's
    inside = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(logits(upsampled)[inside], ((y + x / 2) / 100)[inside], atol=1e-5)


@pytest.mark.parametrize(("inner", "outer"), [((60, 97), (60, 97)), ((60, 90), (240, 360)), ((60, 90), (61, 90))])
def test_scores_at_the_images_size_zoom_as_those_of_the_grid_do(inner, outer):
    """A network of multi-scale prediction zooms its scores itself, to stride 1."""
    full = np.stack([np.zeros((65, 97)), (np.mgrid[:65, :97] * [[[1]], [[0.5]]]).sum(0) / 100]).astype(np.float32)
    by_grid = upsampled_probabilities(ramp(9, 13), inner, outer)
    before = full.copy()
    np.testing.assert_allclose(upsampled_probabilities(full, inner, outer, stride=1), by_grid, atol=1e-5)
    np.testing.assert_array_equal(full, before)
    assert upsampled_probabilities(full, inner, outer, stride=1, classes=np.array([1])).shape == (1, *outer)


@pytest.mark.parametrize(("inner", "outer"), [((1, 65), (1, 40000)), ((65, 1), (40000, 1)), ((33, 65), (1500, 9000))])
def test_a_photo_is_zoomed_block_by_block_as_if_at_once(inner, outer, monkeypatch):
    scores = np.random.default_rng(0).normal(size=(3, *(side // 8 + 1 for side in inner))).astype(np.float32)
    by_block = upsampled_probabilities(scores, inner, outer)
    monkeypatch.setattr(zoom, "BLOCK", (10**6, 10**6))
    np.testing.assert_array_equal(upsampled_probabilities(scores, inner, outer), by_block)
    np.testing.assert_array_equal(upsampled_probabilities(scores, inner, outer, threads=3), by_block)


@pytest.mark.parametrize("outer", [(1, 1_000_000), (1_000_000, 1), (700, 1500)])
def test_memory_beyond_the_result_does_not_grow_with_a_side(outer):
    inner = tuple(max(1, side * 513 // max(outer)) for side in outer)
    scores = np.zeros((21, *(side // 8 + 2 for side in inner)), np.float32)
    tracemalloc.start()
    upsampled = upsampled_probabilities(scores, inner, outer, classes=np.array([0, 5]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - upsampled.nbytes < 20e6


def test_some_classes_only():
    scores = np.random.default_rng(0).normal(size=(5, 9, 9)).astype(np.float32)
    every = upsampled_probabilities(scores, (65, 60), (130, 120))
    np.testing.assert_array_equal(
        upsampled_probabilities(scores, (65, 60), (130, 120), classes=np.array([3, 1])), every[[3, 1]]
    )


@pytest.mark.parametrize("outer", [(1, 1), (1, 50), (700, 3)])
def test_odd_shapes(outer):
    scores = np.random.default_rng(0).normal(size=(3, 5, 5)).astype(np.float32)
    assert upsampled_probabilities(scores, (min(outer[0], 33), min(outer[1], 33)), outer).shape == (3, *outer)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.data())
def test_places_rise_and_stay_on_the_grid(cells, data):
    inner = data.draw(st.integers(1, 8 * cells - 7))
    outer = data.draw(st.integers(1, 200))
    first, share = places(cells, inner, outer)
    assert first.min() >= 0
    assert first.max() <= max(cells - 2, 0)
    assert share.min() >= 0
    assert share.max() <= 1
    assert (np.diff(first + share) >= -1e-5).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
def test_probabilities_sum_to_one(classes, h, w, seed):
    scores = np.random.default_rng(seed).normal(0, 30, (classes, h, w)).astype(np.float32)
    size = (8 * h - 7, 8 * w - 7)
    upsampled = upsampled_probabilities(scores, size, size)
    np.testing.assert_allclose(upsampled.sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(np.log(upsampled[:, ::8, ::8] + 1e-30).argmax(0), scores.argmax(0))

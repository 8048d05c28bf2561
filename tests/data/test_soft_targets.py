import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrous.data.samples import Sample, image_list
from atrous.data.soft_targets import SoftTargets
from atrous.data.transforms import CropWindow
from atrous.errors import InputError

# Two classes on a grid of 2 x 3 cells.
SCORES = np.array([[[0.0, 1.0, 0.5], [1.0, 0.0, 0.5]], [[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]]], np.float32)


@pytest.fixture
def opened(tmp_path):
    def write_and_open(scores, save=np.save, suffix=".npy"):
        sample = Sample("a", tmp_path / "a.jpg", None)
        save(tmp_path / f"a{suffix}", scores)
        return SoftTargets(tmp_path, image_list("train", [sample]), 2), sample

    return write_and_open


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("save", "suffix"), [(np.save, ".npy"), (np.savez, ".npz"), (np.savez_compressed, ".npz")])
def test_corner_cells_lie_on_the_corner_pixels(opened, dtype, save, suffix):
    soft, sample = opened(SCORES.astype(dtype), save, suffix)
    # An image of 5 x 9 pixels: a cell each 4 pixels.
    found = soft.at(sample, (5, 9), np.array([0.0, 4.0]), np.array([0.0, 4.0, 8.0]))
    np.testing.assert_allclose(found, SCORES, atol=1e-3)
    assert found.dtype == np.float32


def test_between_cells_probabilities_are_interpolated(opened):
    soft, sample = opened(SCORES)
    (first, _) = soft.at(sample, (5, 9), np.array([0.0, 2.0]), np.array([0.0, 1.0, 6.0]))
    np.testing.assert_allclose(first, [[0, 0.25, 0.75], [0.5, 0.5, 0.5]])


def test_logits_are_interpolated_before_their_softmax(opened):
    logits = np.array([[[0.0, 4.0]], [[0.0, 0.0]]], np.float32)
    soft, sample = opened(logits)
    (first, _) = soft.at(sample, (1, 5), np.array([0.0]), np.array([0.0, 2.0, 4.0]))
    np.testing.assert_allclose(first[0], 1 / (1 + np.exp([0.0, -2.0, -4.0])), rtol=1e-6)


def test_one_score_for_the_whole_image(opened):
    soft, sample = opened(np.array([[[0.25]], [[0.75]]]))
    assert soft.at(sample, (1, 40), np.array([0.0]), np.array([0.0, 39.0])).tolist() == [[[0.25] * 2], [[0.75] * 2]]


@given(mirrored=st.booleans(), top=st.integers(0, 6), left=st.integers(0, 6), scale=st.sampled_from([0.5, 1, 1.5, 2]))
def test_each_augmentation_moves_soft_targets_with_the_image(tmp_path_factory, mirrored, top, left, scale):
    height, width = 41, 57
    # Probability of class 0 grows with the row, of class 1 with the column: each cell tells where it was taken.
    rows, columns = np.indices((height, width)) / 100
    folder = tmp_path_factory.mktemp("scores")
    np.save(folder / "a.npy", np.stack([rows, columns, 1 - rows - columns]).astype(np.float32))
    sample = Sample("a", folder / "a.jpg", None)
    soft = SoftTargets(folder, image_list("train", [sample]), 3)
    resized = round(height * scale), round(width * scale)
    window = CropWindow((height, width), resized, top, left, mirrored, 33)
    found = 100 * soft.at(sample, window.image, *window.cells())
    inside = window.inside
    y = np.arange(0, inside[0], 8) + top
    x = np.arange(0, inside[1], 8)
    x = (inside[1] - 1 - x if mirrored else x) + left
    for axis, (places, before, after) in enumerate(((y, height, resized[0]), (x, width, resized[1]))):
        expected = np.clip((places + 0.5) * before / after - 0.5, 0, before - 1)
        got = found[axis][:, 0] if axis == 0 else found[axis][0]
        np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("scores", "keyword"),
    [
        (SCORES[:1], "classes"),
        (SCORES[0], "shape"),
        (SCORES.transpose(1, 2, 0)[:1], "transpose"),
        ((SCORES * 255).astype(np.uint8), "uint8"),
        (np.where(SCORES > 0.5, np.nan, SCORES), "NaN"),
        (SCORES * 0.5, "sum"),
        (np.zeros((2, 0, 3), np.float32), "shape"),
    ],
)
def test_other_arrays_are_refused(opened, scores, keyword):
    soft, sample = opened(scores)
    with pytest.raises(InputError, match=keyword):
        soft.at(sample, (5, 9), np.array([0.0]), np.array([0.0]))


def test_an_image_without_scores_is_named(tmp_path):
    images = image_list("train", [Sample("street", tmp_path / "street.jpg", None)])
    with pytest.raises(InputError, match="street.npy"):
        SoftTargets(tmp_path, images, 2)
    with pytest.raises(InputError, match="no such folder"):
        SoftTargets(tmp_path / "none", images, 2)

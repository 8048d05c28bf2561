import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atrous.evaluation.trimap import WIDTHS, band, near_void, rings


def drawn(picture: str) -> np.ndarray:
    """`.` background, `#` class 1, `v` void."""
    return np.array([[{".": 0, "#": 1, "v": 255}[c] for c in row] for row in picture.split()], np.uint8)


def test_bands_drawn_by_eye():
    truth = drawn("""
        .......
        .......
        ..vvv..
        ..v#v..
        ..vvv..
        .......
        .......""")
    one = """
        .......
        .xxxxx.
        .x...x.
        .x.x.x.
        .x...x.
        .xxxxx.
        ......."""
    expected = np.array([[c == "x" for c in row] for row in one.split()])
    np.testing.assert_array_equal(band(truth, 1), expected)
    np.testing.assert_array_equal(band(truth, 2), truth != 255)


def test_the_distance_is_the_chessboards():
    truth = drawn("v...... ....... ....... .......")
    expected = drawn("v##.... ###.... ###.... .......")
    np.testing.assert_array_equal(band(truth, 2), expected == 1)


def test_without_void_no_band():
    truth = np.zeros((5, 9), np.uint8)
    assert not band(truth, 40).any()
    assert (rings(truth) == len(WIDTHS)).all()


def test_rings_name_the_narrowest_band():
    np.testing.assert_array_equal(rings(drawn("v.......#"), (1, 2, 5)), [[0, 0, 1, 2, 2, 2, 3, 3, 3]])


@settings(deadline=None, max_examples=40)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 0, 0, 0, 1, 255])),
    st.integers(0, 12),
)
def test_as_a_dilation_pixel_by_pixel(truth, width):
    expected = np.zeros(truth.shape, bool)
    for y, x in np.argwhere(truth == 255):
        expected[max(y - width, 0) : y + width + 1, max(x - width, 0) : x + width + 1] = True
    np.testing.assert_array_equal(near_void(truth, width), expected)
    np.testing.assert_array_equal(band(truth, width), expected & (truth != 255))
    ring = rings(truth)
    for index, w in enumerate(WIDTHS):
        np.testing.assert_array_equal((ring <= index) & (truth != 255), band(truth, w))


def test_photos_of_any_size():
    truth = np.zeros((375, 500), np.uint8)
    truth[100, 200] = 255
    assert band(truth, 40).sum() == 81 * 81 - 1
    assert band(truth, 1000).sum() == truth.size - 1


def test_a_null_width_has_no_labeled_pixel():
    assert not band(drawn("v.v"), 0).any()

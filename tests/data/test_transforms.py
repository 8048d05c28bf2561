import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrous.data.transforms import (
    MEAN_BGR,
    CropWindow,
    aligned_size,
    cut,
    draw_window,
    network_input,
    pad_bottom_right,
    shrink_labels,
    to_network,
)


def random_crop(image, labels, size, rng, **options):
    return cut(image, labels, draw_window(labels.shape, size, rng, **options))


def test_network_input_is_bgr_minus_the_mean():
    image = np.array([[[10, 20, 30]]], np.uint8)  # one RGB pixel
    np.testing.assert_allclose(to_network(image)[:, 0, 0], [30 - 104.008, 20 - 116.669, 10 - 122.675])


def test_color_order_and_mean_may_be_a_models_own():
    image = np.array([[[30, 20, 10]]], np.uint8)
    assert to_network(image, (1.0, 2.0, 3.0)).ravel().tolist() == [9, 18, 27]
    assert to_network(image, (1.0, 2.0, 3.0), "RGB").ravel().tolist() == [29, 18, 7]


def test_network_input_is_padded_with_the_mean():
    blob = network_input(np.full((34, 33, 3), 200, np.uint8))
    assert blob.shape == (3, 41, 33)
    assert (blob[:, 34:] == 0).all()
    assert (blob[:, :34] != 0).all()


@pytest.mark.parametrize(("side", "aligned"), [(1, 1), (2, 9), (9, 9), (33, 33), (321, 321), (375, 377), (500, 505)])
def test_aligned_sizes_are_8k_minus_7(side, aligned):
    assert aligned_size(side) == aligned


def test_padding_is_at_the_bottom_and_right_with_the_mean():
    blob = np.ones((3, 2, 3), np.float32)
    padded = pad_bottom_right(blob, 4, 4)
    np.testing.assert_array_equal(padded[0], [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_labels_are_picked_at_every_eighth_pixel():
    labels = np.arange(33 * 33).reshape(33, 33) % 251
    shrunk = shrink_labels(labels.astype(np.uint8))
    assert shrunk.shape == (5, 5)
    assert shrunk[1, 2] == labels[8, 16]
    assert shrunk[-1, -1] == labels[32, 32]


@given(st.integers(1, 80), st.integers(1, 80), st.integers(0, 2**32 - 1))
def test_crop_keeps_pixels_and_labels_together(height, width, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = image[..., 0] // 13  # so that the label can be told from the pixel
    blob, crop = random_crop(image, labels, 65, rng)
    assert blob.shape == (3, 65, 65)
    assert crop.shape == (65, 65)
    inside = crop != 255
    assert inside.sum() == min(height, 65) * min(width, 65)
    assert not inside[min(height, 65) :].any()
    assert not blob[:, ~inside].any()
    red = np.rint(blob[2] + MEAN_BGR[2]).astype(np.uint8)
    np.testing.assert_array_equal(red[inside] // 13, crop[inside])


def test_half_of_the_crops_are_mirrored():
    image = np.zeros((33, 33, 3), np.uint8)
    labels = np.zeros((33, 33), np.uint8)
    labels[:, :5] = 1
    rng = np.random.default_rng(0)
    left = sum(int(random_crop(image, labels, 33, rng)[1][0, 0]) for _ in range(400))
    assert 150 < left < 250


def test_zoomed_crops_keep_photo_and_labels_together():
    labels = np.zeros((60, 80), np.uint8)
    labels[20:40, 30:60] = 7
    image = np.repeat(np.where(labels == 7, 250, 10).astype(np.uint8)[..., None], 3, axis=2)
    shares = []
    for seed in range(20):
        blob, crop = random_crop(image, labels, 97, np.random.default_rng(seed), scales=(0.5, 1.0))
        bright = blob[0] + MEAN_BGR[0] > 130
        inside = crop != 255
        # Blended pixels at the border may fall to either side.
        assert (bright[inside] == (crop[inside] == 7)).mean() > 0.97
        shares.append(inside.mean())
    assert min(shares) < 0.25 * 60 * 80 / 97**2 * 1.3  # zoomed by little more than a half
    assert max(shares) > 0.8 * 60 * 80 / 97**2


def test_without_mirror_nothing_is_mirrored():
    image = np.arange(33 * 33 * 3, dtype=np.uint16).reshape(33, 33, 3).astype(np.uint8)
    labels = np.zeros((33, 33), np.uint8)
    for seed in range(8):
        blob, _ = random_crop(image, labels, 33, np.random.default_rng(seed), mirror=False)
        np.testing.assert_array_equal(blob, to_network(image))


def test_a_crop_knows_where_its_cells_lie_in_the_image():
    window = CropWindow(image=(20, 30), resized=(20, 30), top=3, left=5, mirrored=False, size=17)
    rows, columns = window.cells()
    assert rows.tolist() == [3, 11, 19]
    assert columns.tolist() == [5, 13, 21]


def test_cells_of_a_mirrored_crop_count_from_its_right_edge():
    window = CropWindow(image=(9, 12), resized=(9, 12), top=0, left=0, mirrored=True, size=17)
    rows, columns = window.cells()
    assert rows.tolist() == [0, 8]  # 9 rows are inside; the rest of the 17 is padding
    assert columns.tolist() == [11, 3]


def test_cells_of_a_resized_crop_lie_in_the_image_before():
    # Twice as large: pixel 2 k + 1/2 of the resized image is pixel k.
    window = CropWindow(image=(20, 20), resized=(40, 40), top=4, left=0, mirrored=False, size=17)
    rows, columns = window.cells()
    assert rows.tolist() == [1.75, 5.75, 9.75]
    assert columns.tolist() == [0, 3.75, 7.75]  # the first, at -1/4, is clipped


@given(st.integers(9, 60), st.integers(9, 60), st.sampled_from([(1.0, 1.0), (0.5, 2.0)]), st.integers(0, 2**32 - 1))
def test_cells_lie_where_the_labels_were_picked(height, width, scales, seed):
    # Label maps that hold their own row or column tell where each cell of the crop comes from.
    places = np.indices((height, width), np.uint8)
    image = np.zeros((height, width, 3), np.uint8)
    window = draw_window((height, width), 33, np.random.default_rng(seed), scales=scales)
    rows, columns = window.cells()
    picked_rows, picked_columns = (shrink_labels(cut(image, ids, window)[1]) for ids in places)
    n, m = len(rows), len(columns)
    assert (picked_rows[n:] == 255).all()
    assert (picked_columns[:, m:] == 255).all()
    assert np.abs(picked_rows[:n, :m] - rows[:, None]).max() <= 0.5 + 1e-6
    assert np.abs(picked_columns[:n, :m] - columns).max() <= 0.5 + 1e-6

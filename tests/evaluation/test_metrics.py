import numpy as np
import pytest

from atrous.errors import InputError
from atrous.evaluation.metrics import ConfusionMatrix, count_pixels


def test_counts_by_eye():
    truth = np.array([[0, 0, 1], [1, 1, 255]], np.uint8)
    predicted = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    matrix = ConfusionMatrix(3)
    matrix.add(truth, predicted)
    np.testing.assert_array_equal(matrix.counts, [[1, 1, 0], [1, 2, 0], [0, 0, 0]])
    np.testing.assert_allclose(matrix.iou(), [1 / 3, 2 / 4, np.nan])
    assert matrix.mean_iou() == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert matrix.pixel_accuracy() == pytest.approx(3 / 5)
    np.testing.assert_allclose(matrix.recall(), [1 / 2, 2 / 3, np.nan])
    np.testing.assert_allclose(matrix.precision(), [1 / 2, 2 / 3, np.nan])
    assert matrix.class_accuracy() == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert matrix.frequency_weighted_iou() == pytest.approx(2 / 5 * 1 / 3 + 3 / 5 * 1 / 2)


def test_a_class_that_was_given_but_is_nowhere_true():
    matrix = ConfusionMatrix(3)
    matrix.add(np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 2, 1, 1]], np.uint8))
    np.testing.assert_allclose(matrix.iou(), [1 / 2, 1, 0])
    assert matrix.mean_iou() == pytest.approx(1 / 2)
    np.testing.assert_allclose(matrix.recall(), [1 / 2, 1, np.nan])
    assert matrix.class_accuracy() == pytest.approx(3 / 4)
    assert matrix.frequency_weighted_iou() == pytest.approx(1 / 2 * 1 / 2 + 1 / 2 * 1)


def test_nothing_labeled_has_no_score():
    matrix = ConfusionMatrix(2)
    matrix.add(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))
    assert np.isnan(list(matrix.summary().values())).all()


def test_begins_from_counts_without_sharing_them():
    counts = np.array([[3, 1], [0, 2]])
    matrix = ConfusionMatrix(counts)
    matrix.add(np.array([[1]], np.uint8), np.array([[1]], np.uint8))
    np.testing.assert_array_equal(matrix.counts, [[3, 1], [0, 3]])
    np.testing.assert_array_equal(counts, [[3, 1], [0, 2]])


def test_pixels_are_counted_by_part():
    truth = np.array([[0, 1, 255]], np.uint8)
    counts = count_pixels(truth, np.array([[1, 1, 0]], np.uint8), 2, np.array([[2, 0, 1]], np.uint8), 3)
    np.testing.assert_array_equal(counts, [[[0, 0], [0, 1]], [[0, 0], [0, 0]], [[0, 1], [0, 0]]])


def test_the_mean_is_taken_once_over_the_whole_set():
    # image by image the IoU of class 1 would be (1 + 0) / 2; pooled it is 2 / 3
    matrix = ConfusionMatrix(2)
    matrix.add(np.array([[1, 1]], np.uint8), np.array([[1, 1]], np.uint8))
    matrix.add(np.array([[1, 0]], np.uint8), np.array([[0, 0]], np.uint8))
    assert matrix.iou()[1] == pytest.approx(2 / 3)


def test_mistakes_are_named():
    matrix = ConfusionMatrix(2)
    with pytest.raises(InputError, match=r"\(2, 1\), got \(1, 2\)"):
        matrix.add(np.zeros((2, 1), np.uint8), np.zeros((1, 2), np.uint8))
    with pytest.raises(InputError, match="predicted labels: .*got 7"):
        matrix.add(np.zeros((1, 1), np.uint8), np.full((1, 1), 7, np.uint8))

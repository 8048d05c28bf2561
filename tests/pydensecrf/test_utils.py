import numpy as np
import pytest

from atrous.pydensecrf import utils


def test_unary_from_labels():
    # Three labels: sure of 0.8, 0.1 for each of the others; 0 is unsure, a third each.
    p, n, u = -np.log(0.8), -np.log(0.1), -np.log(1 / 3)
    expected = [[u, p, n, n], [u, n, p, n], [u, n, n, p]]
    for labels in (np.array([[0, 1], [2, 3]]), np.array([[0, 1], [2, 3]], np.uint8), [[0, 1], [2, 3]]):
        energies = utils.unary_from_labels(labels, 3, gt_prob=0.8)
        assert energies.dtype == np.float32
        np.testing.assert_allclose(energies, expected, rtol=1e-6)
    np.testing.assert_allclose(
        utils.unary_from_labels(np.array([0, 1, 2]), 3, 0.8, zero_unsure=False), np.array(expected)[:, 1:], rtol=1e-6
    )


@pytest.mark.parametrize("zero_unsure", [True, False, None])
def test_a_mask_counts_as_0_and_1(zero_unsure):
    mask = np.array([True, False, True])
    np.testing.assert_array_equal(
        utils.unary_from_labels(mask, 2, 0.8, zero_unsure),
        utils.unary_from_labels(mask.astype(int), 2, 0.8, zero_unsure),
    )


def test_unary_from_softmax():
    probabilities = np.array([[[1.0, 0.5]], [[0.0, 0.5]]])
    np.testing.assert_allclose(
        utils.unary_from_softmax(probabilities), -np.log([[1, 0.5], [1e-5, 0.5]]).astype(np.float32)
    )
    np.testing.assert_allclose(
        utils.unary_from_softmax(probabilities, scale=0.5), -np.log([[0.75, 0.5], [0.25, 0.5]]), rtol=1e-6
    )
    np.testing.assert_array_equal(utils.unary_from_softmax(probabilities, clip=None)[1, 0], np.inf)


def test_older_names(caplog):
    probabilities = np.array([[0.75], [0.25]])
    np.testing.assert_array_equal(
        utils.softmax_to_unary(probabilities), utils.unary_from_softmax(probabilities, clip=None)
    )
    np.testing.assert_array_equal(
        utils.softmax_to_unary(probabilities, GT_PROB=0.5), utils.unary_from_softmax(probabilities, 0.5, clip=None)
    )
    labels = np.array([0, 1, 2])
    np.testing.assert_array_equal(utils.compute_unary(labels, 2), utils.unary_from_labels(labels, 2, 0.5))
    assert [record.message.split()[0] for record in caplog.records] == [
        "softmax_to_unary",
        "softmax_to_unary",
        "compute_unary",
    ]


def test_places_and_channels():
    places = utils.create_pairwise_gaussian((1, 2), (2, 3))
    np.testing.assert_array_equal(places, [[0, 0, 0, 1, 1, 1], [0, 0.5, 1, 0, 0.5, 1]])
    image = np.arange(12).reshape(2, 3, 2)
    features = utils.create_pairwise_bilateral((1, 2), (1, 10), image, chdim=2)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features[:2], places)
    np.testing.assert_allclose(features[2:], [[0, 2, 4, 6, 8, 10], [0.1, 0.3, 0.5, 0.7, 0.9, 1.1]], rtol=1e-6)
    np.testing.assert_array_equal(
        utils.create_pairwise_bilateral((1, 2), (1, 10), image.transpose(2, 0, 1), 0), features
    )
    single = utils.create_pairwise_bilateral((1, 2), 2, image[:, :, 0])
    np.testing.assert_array_equal(single, [*places, [0, 1, 2, 3, 4, 5]])
    assert utils.create_pairwise_gaussian((1, 1, 1), (2, 3, 4)).shape == (3, 24)


@pytest.mark.parametrize("sigma", [np.float64(1.7), 1.7, np.float32(1.7)])
def test_features_are_float32(sigma):
    assert utils.create_pairwise_gaussian((sigma, sigma), (3, 3)).dtype == np.float32


def test_fewer_standard_deviations_leave_the_rest_as_it_is():
    image = np.arange(24.0).reshape(2, 3, 4)
    full = utils.create_pairwise_bilateral((2, 3), (5, 10, 1, 1), image, chdim=2)
    with pytest.warns(UserWarning, match="^schan: got 2, expected 4, one for each channel .* not scaled$") as caught:
        features = utils.create_pairwise_bilateral((2, 3), (5, 10), image, chdim=2)
    np.testing.assert_array_equal(features, full)
    assert [warned.filename for warned in caught] == [__file__]  # the caller's line

    full = utils.create_pairwise_bilateral((2, 3, 1), 5, image)
    with pytest.warns(UserWarning, match="^sdims: got 2, expected 3, one for each axis"):
        np.testing.assert_array_equal(utils.create_pairwise_bilateral((2, 3), 5, image), full)


def test_an_infinite_standard_deviation_ignores_an_axis():
    image = np.arange(6.0).reshape(2, 3)
    features = utils.create_pairwise_bilateral((np.inf, 2), (float("inf"),), image)
    np.testing.assert_array_equal(features, [[0] * 6, [0, 0.5, 1] * 2, [0] * 6])
    np.testing.assert_array_equal(utils.create_pairwise_gaussian((np.inf, 2), (2, 3)), features[:2])

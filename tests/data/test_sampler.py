import numpy as np

from atrous.data.sampler import TrainingOrder, rarest_class_weights


def test_an_epoch_shows_every_image_once():
    order = TrainingOrder(7, seed=3)
    first, second = [order[i] for i in range(7)], [order[i] for i in range(7, 14)]
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


def test_the_order_depends_on_position_alone():
    weights = np.array([0.5, 0.25, 0.125, 0.125])
    once = [TrainingOrder(4, 1, weights)[i] for i in range(12)]
    order = TrainingOrder(4, 1, weights)
    assert [order[i] for i in reversed(range(12))] == once[::-1]


def test_weighted_epochs_show_images_in_proportion():
    weights = np.array([0.5, 0.25, 0.125, 0.125])
    order = TrainingOrder(4, seed=0, weights=weights)
    drawn = np.bincount([order[i] for i in range(4000)], minlength=4)
    np.testing.assert_allclose(drawn / 4000, weights, atol=0.02)
    assert [order[i] for i in range(4)].count(0) == 2


def test_the_rarest_class_sets_the_weight():
    # class 1 in four images, class 2 in one of them, the last image shows nothing
    present = [frozenset({1}), frozenset({1}), frozenset({1}), frozenset({1, 2}), frozenset()]
    weights = rarest_class_weights(present)
    np.testing.assert_allclose(weights / weights[0], [1, 1, 1, 2, 1])

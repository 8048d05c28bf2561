"""The NumPy mean field against numbers worked out by hand."""

import numpy as np

from atrous.crf import Gaussian, exact


def test_two_points_one_step():
    # Two points at distance 2 sigma: k = exp(-2); Q0 = (0.8, 0.2) and (0.4, 0.6).
    p = np.array([[0.8, 0.4], [0.2, 0.6]])
    k = np.exp(-2)
    q = exact(None, [Gaussian([[0.0], [2.0]], weight=3)], p, iterations=1, normalization="none")
    message = np.array([[0.8 + k * 0.4, 0.4 + k * 0.8], [0.2 + k * 0.6, 0.6 + k * 0.2]])
    expected = p * np.exp(3 * message)
    np.testing.assert_allclose(q, expected / expected.sum(axis=0))


def test_normalizations_by_hand():
    p = np.array([[0.8, 0.4, 0.5], [0.2, 0.6, 0.5]])
    k = np.exp(-0.5)  # points at 0, 1 and far away
    matrix = np.array([[1, k, 0], [k, 1, 0], [0, 0, 1]])
    mass = np.array([1 + k, 1 + k, 1])
    for normalization, message in {
        "none": p @ matrix,
        "before": (p / mass) @ matrix,
        "after": (p @ matrix) / mass,
        "symmetric": (p / np.sqrt(mass)) @ matrix / np.sqrt(mass),
    }.items():
        kernels = [Gaussian([[0.0], [1.0], [100.0]], weight=1)]
        q = exact(None, kernels, p, iterations=1, normalization=normalization)
        expected = p * np.exp(message)
        np.testing.assert_allclose(q, expected / expected.sum(axis=0))


def test_compatibility_is_the_cost_of_a_label_here_and_another_there():
    p = np.array([[0.9, 0.5], [0.1, 0.5]])
    mu = np.array([[0.0, 5.0], [1.0, 0.0]])  # label 0 here beside label 1 there costs 5
    q = exact(None, [Gaussian([[0.0], [0.0]], weight=1)], p, iterations=1, normalization="none", compatibility=mu)
    there = p.sum(axis=1)  # both points at one place: each sees both
    expected = p * np.exp(-np.array([[5.0 * there[1]], [1.0 * there[0]]]))
    np.testing.assert_allclose(q, expected / expected.sum(axis=0))


def test_potts_equals_its_matrix_and_its_vector():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=8).T
    kernels = [Gaussian(rng.normal(size=(8, 2)), weight=2)]
    potts = exact(None, kernels, p)
    np.testing.assert_allclose(exact(None, kernels, p, compatibility=1 - np.eye(3)), potts)
    np.testing.assert_allclose(exact(None, kernels, p, compatibility=np.ones(3)), potts)

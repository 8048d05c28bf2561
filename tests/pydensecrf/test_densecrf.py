import sys

import numpy as np
import pytest
from cases import photo, probabilities
from hypothesis import given, settings
from hypothesis import strategies as st

from atrous.pydensecrf import densecrf as dcrf
from atrous.pydensecrf import eigen
from atrous.pydensecrf.utils import create_pairwise_bilateral, unary_from_softmax

UNARY = np.array([[0.5], [1.0], [2.0]], np.float32)
COSTS = np.array([[-2, 1, 0], [3, -1, 0.5], [0, 0.5, 0]], np.float32)


def softmax(scores):
    weights = np.exp(scores)
    return weights / weights.sum(axis=0)


def picture_crf(labels=3, height=9, width=11, seed=0, **how):
    rng = np.random.default_rng(seed)
    crf = dcrf.DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(unary_from_softmax(probabilities(rng, labels, height, width)))
    crf.addPairwiseGaussian(sxy=2, compat=2, **how)
    crf.addPairwiseBilateral(sxy=8, srgb=13, rgbim=photo(rng, height, width), compat=3, **how)
    return crf


# A single point sends itself the message q under every normalization, since then K is 1.
@pytest.mark.parametrize(
    ("compat", "gain"),
    [
        (2, 2 * np.eye(3)),
        (np.float32(2), 2 * np.eye(3)),
        (np.array([1, 2, 3], np.float32), -np.diag([1, 2, 3])),
        ([1, 2, 3], -np.diag([1, 2, 3])),
        (COSTS, -(COSTS + COSTS.T) / 2),
        (COSTS.astype(np.float64), -(COSTS + COSTS.T) / 2),
    ],
)
@pytest.mark.parametrize("normalization", [1, dcrf.NORMALIZE_AFTER, dcrf.NORMALIZE_SYMMETRIC])
def test_one_point_by_hand(compat, gain, normalization):
    crf = dcrf.DenseCRF(1, 3)
    crf.setUnaryEnergy(UNARY)
    crf.addPairwiseEnergy(np.zeros((2, 1), np.float32), compat, dcrf.DIAG_KERNEL, normalization)
    q = softmax(-UNARY)
    for _ in range(2):
        q = softmax(-UNARY + gain @ q)
    np.testing.assert_allclose(crf.inference(2), q, atol=1e-6)


def test_divergence_of_one_point_by_hand():
    crf = dcrf.DenseCRF(1, 3)
    crf.setUnaryEnergy(UNARY)
    crf.addPairwiseEnergy(np.zeros((2, 1), np.float32), COSTS)
    q = softmax(-UNARY).astype(np.float64)
    expected = (q * np.log(q)).sum() + (q * UNARY).sum() + (q.T @ COSTS @ q).item()
    assert crf.klDivergence(q) == pytest.approx(expected, rel=1e-5)


def test_defaults():
    explicit = picture_crf(kernel=dcrf.DIAG_KERNEL, normalization=dcrf.NORMALIZE_SYMMETRIC)
    np.testing.assert_array_equal(picture_crf().inference(3), explicit.inference(3))


@pytest.mark.parametrize("kernel", [0, dcrf.CONST_KERNEL, dcrf.FULL_KERNEL])
def test_kernel_types_do_the_same(kernel):
    np.testing.assert_array_equal(picture_crf(kernel=kernel).inference(3), picture_crf().inference(3))


def test_what_is_done_with_q_in_the_wild():
    q = picture_crf().inference(2)
    assert np.array(q).shape == (3, 99)
    assert np.array(q).dtype == np.float32
    assert np.argmax(q, axis=0).reshape((9, 11)).dtype == np.intp
    assert memoryview(q).shape == (3, 99)
    np.testing.assert_allclose(np.sum(q, axis=0), 1, atol=1e-6)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 99), labels=st.integers(1, 9), normalization=st.integers(1, 3), steps=st.integers(0, 3))
def test_steps_one_by_one_are_the_inference(seed, labels, normalization, steps):
    height, width = 2 + seed % 5, 2 + seed % 4
    crf = picture_crf(labels, height, width, seed, normalization=normalization)
    q, first, second = crf.startInference()
    for _ in range(steps):
        crf.stepInference(q, first, second)
    np.testing.assert_allclose(crf.inference(steps), q, atol=1e-5)


def test_symmetric_steps_lower_the_divergence():
    crf = picture_crf()
    q, first, second = crf.startInference()
    values = [crf.klDivergence(q)]
    for _ in range(4):
        crf.stepInference(q, first, second)
        values.append(crf.klDivergence(q))
    assert np.all(np.diff(values) < 0)


def test_a_picture_is_points_with_features():
    rng = np.random.default_rng(3)
    image = photo(rng, 9, 11)
    features = create_pairwise_bilateral((5, 4), (13, 14, 15), image, chdim=2)
    crf = dcrf.DenseCRF(99, 3)
    unary = unary_from_softmax(probabilities(rng, 3, 9, 11))
    crf.setUnaryEnergy(unary)
    crf.addPairwiseEnergy(features[[1, 0, 2, 3, 4]], compat=3)
    other = dcrf.DenseCRF2D(11, 9, 3)
    other.setUnaryEnergy(unary.reshape(3, 9, 11))
    other.addPairwiseBilateral(sxy=(4, 5), srgb=(13, 14, 15), rgbim=image, compat=3)
    np.testing.assert_array_equal(crf.inference(4), other.inference(4))


def test_layouts_and_types_do_not_matter():
    rng = np.random.default_rng(4)
    image, unary = photo(rng, 6, 7), unary_from_softmax(probabilities(rng, 3, 6, 7))
    expected, crf = dcrf.DenseCRF2D(7, 6, 3), dcrf.DenseCRF2D(7.0, np.int64(6), 3)
    expected.setUnaryEnergy(unary)
    expected.addPairwiseBilateral(10, 13, image, 3)
    crf.setUnaryEnergy(np.asfortranarray(unary.astype(np.float64)))
    crf.addPairwiseBilateral([10, 10], np.full(3, 13), image[::-1][::-1], np.array(3))
    np.testing.assert_array_equal(crf.inference(2.0), expected.inference(2))


def test_features_far_from_zero_count_from_the_nearest_of_them():
    """Places on a map in meters, say: pydensecrf computes with them as they are, in what is left of float32."""
    rng = np.random.default_rng(5)
    places = np.round(64 * rng.random((2, 50))) / 8  # which float32 holds at the offset, too
    places[:, 0] = 0
    marginals = []
    for offset in (0, 2**20):
        crf = dcrf.DenseCRF(50, 3)
        crf.setUnaryEnergy(unary_from_softmax(probabilities(np.random.default_rng(6), 3, 5, 10)))
        crf.addPairwiseEnergy(np.add(places, [[offset], [0]]), compat=3)
        marginals.append(crf.inference(4))
    np.testing.assert_array_equal(*marginals)


def test_what_is_given_is_copied():
    unary = UNARY.copy()
    crf = dcrf.DenseCRF(1, 3)
    crf.setUnaryEnergy(unary)
    unary[:] = 0
    np.testing.assert_allclose(crf.inference(0), softmax(-UNARY), atol=1e-6)


def test_infinite_energy_is_an_impossible_label():
    crf = dcrf.DenseCRF(2, 2)
    with np.errstate(divide="ignore"):
        crf.setUnaryEnergy(-np.log(np.array([[1.0, 0.5], [0.0, 0.5]])))
    crf.addPairwiseEnergy(np.zeros((1, 2)), compat=5)
    q = crf.inference(3)
    assert q[1, 0] == 0
    assert q[0, 1] > 0.9
    assert np.isfinite(crf.klDivergence(q))


def test_unary_objects():
    crf = dcrf.DenseCRF(1, 3)
    crf.setUnary(dcrf.ConstUnary(UNARY))
    np.testing.assert_allclose(crf.inference(0), softmax(-UNARY), atol=1e-6)
    weights, features = np.array([[1, 0], [0, 1], [1, 1]]), np.array([[0.5], [2.0]])
    logistic = dcrf.LogisticUnary(weights, features)
    for _ in range(2):  # unlike pydensecrf's, a unary may be used again
        crf.setUnary(logistic)
    np.testing.assert_allclose(crf.inference(0), softmax(-(weights @ features)), atol=1e-6)
    crf.setUnaryEnergy(weights, features)
    np.testing.assert_allclose(crf.inference(0), softmax(-(weights @ features)), atol=1e-6)


def test_subclasses_work():
    class Own(dcrf.DenseCRF2D):
        pass

    crf = Own(2, 1, 2)
    crf.setUnaryEnergy(np.zeros((2, 2)))
    assert crf.inference(1).shape == (2, 2)


def test_eigen():
    assert eigen.MatrixXf().shape == (0, 0)
    assert eigen.VectorXf().shape == (0,)
    matrix = eigen.matrixXf([[1, 2], [3, 4]])
    np.testing.assert_array_equal(matrix, [[1, 2], [3, 4]])
    assert matrix.dtype == np.float32
    assert eigen.vectorXf([1, 2]).shape == (2,)


def test_instruction_sets_agree():
    from atrous import _native

    chosen = _native.instruction_set()
    found = []
    try:
        for name in ("baseline", "v3", "v4"):
            if _native.choose_instruction_set(name):
                found.append(np.array(picture_crf(5, 20, 30).inference(2)))
    finally:
        _native.choose_instruction_set(chosen)
    for q in found[1:]:
        np.testing.assert_allclose(q, found[0], rtol=0, atol=1e-6)


def test_it_can_stand_in_for_a_library_that_imports_pydensecrf(monkeypatch):
    import atrous.pydensecrf.utils

    for name in ("", ".densecrf", ".utils", ".eigen"):
        monkeypatch.setitem(sys.modules, "pydensecrf" + name, sys.modules["atrous.pydensecrf" + name])
    names = {}
    exec("import pydensecrf.densecrf as a\nfrom pydensecrf.utils import unary_from_softmax as b", names)
    assert names["a"] is atrous.pydensecrf.densecrf
    assert names["b"] is atrous.pydensecrf.utils.unary_from_softmax

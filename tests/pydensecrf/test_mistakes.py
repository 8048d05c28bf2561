"""What pydensecrf crashes on, computes nonsense of, or explains badly: one line that says what to do."""

import re

import numpy as np
import pytest

from atrous.errors import InputError
from atrous.pydensecrf import densecrf as dcrf
from atrous.pydensecrf import utils

IMAGE = np.zeros((3, 4, 3), np.uint8)
UNARY = np.zeros((2, 12), np.float32)


@pytest.fixture
def crf():
    made = dcrf.DenseCRF2D(4, 3, 2)
    made.setUnaryEnergy(UNARY)
    return made


def check(call, message):
    with pytest.raises(InputError, match="^" + message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3, 2), "w: "),
        ((4, -1, 2), "h: "),
        ((4.5, 3, 2), "w: "),
        ((4, float("inf"), 2), "h: "),
        ((4, 3, 0), "nlabels: "),
        ((4, "3", 2), "h: "),
    ],
)
def test_sizes(arguments, message):
    check(lambda: dcrf.DenseCRF2D(*arguments), message)


@pytest.mark.parametrize(
    ("unary", "message"),
    [
        (None, "u: expected an array"),
        (UNARY[:1], "u: expected shape (2, 12)"),
        (UNARY.T, "u: expected shape (2, 12), labels and points, got (12, 2); give labels first"),
        (UNARY.reshape(2, 4, 3), "u: expected shape"),
        (UNARY.astype(complex), "u: expected an array"),
        (UNARY.astype(bool), "u: expected an array"),
        (UNARY.astype(str), "u: expected an array"),
        (np.full_like(UNARY, np.nan), "u: expected energies, got NaN"),
        (np.full_like(UNARY, -np.inf), "u: expected energies, got -inf"),
        (np.full_like(UNARY, np.inf), "u: expected a finite energy at each point, got only infinite ones at point 0"),
    ],
)
def test_unary(crf, unary, message):
    check(lambda: crf.setUnaryEnergy(unary), re.escape(message))


def test_unary_objects(crf):
    check(lambda: crf.setUnary(None), "u: expected a ConstUnary")
    check(lambda: crf.setUnary(dcrf.Unary()), "u: expected a ConstUnary")
    check(lambda: crf.setUnary(dcrf.ConstUnary(UNARY[:, :5])), "u: expected shape")
    check(lambda: dcrf.ConstUnary([1.0, 2.0]), "u: expected shape")
    check(lambda: dcrf.LogisticUnary(np.ones((2, 3)), np.ones((2, 12))), "f: expected shape")
    check(lambda: dcrf.LogisticUnary(np.ones((2, 3)), np.full((3, 12), np.nan)), "f: expected finite")
    check(lambda: crf.setUnaryEnergy(np.ones((2, 3)), np.ones((2, 12))), "f: expected shape")
    check(lambda: crf.setUnaryEnergy(np.ones((5, 3)), np.ones((3, 12))), "u: expected shape")


@pytest.mark.parametrize("call", ["inference", "startInference", "stepInference", "klDivergence"])
def test_no_unary(call):
    crf = dcrf.DenseCRF(2, 2)
    arguments = {"inference": (5,), "stepInference": (UNARY, None, None), "klDivergence": (UNARY,)}.get(call, ())
    check(lambda: getattr(crf, call)(*arguments), "unary: expected energies, got none; call setUnaryEnergy")


@pytest.mark.parametrize("niter", [-1, 2.5, "3", None, np.nan])
def test_iterations(crf, niter):
    check(lambda: crf.inference(niter), "niter: ")


@pytest.mark.parametrize("sxy", [0, (3, 0), (3,), "ab", None, np.nan, (1, np.nan), 1e-60, {}])
def test_standard_deviations(crf, sxy):
    check(lambda: crf.addPairwiseGaussian(sxy, 3), "sxy: ")
    check(lambda: crf.addPairwiseBilateral(sxy, 13, IMAGE, 3), "sxy: ")


def test_colors(crf):
    check(lambda: crf.addPairwiseBilateral(80, 0, IMAGE, 3), "srgb: ")
    check(lambda: crf.addPairwiseBilateral(80, (1, 2), IMAGE, 3), "srgb: ")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 3, 3), np.uint8), "rgbim: .*DenseCRF2D takes the width first"),
        (np.zeros((3, 4, 4), np.uint8), "rgbim: .*create_pairwise_bilateral"),
        (np.zeros((3, 4), np.uint8), "rgbim: expected shape"),
        (np.zeros((3, 4, 3), np.float32), "rgbim: expected uint8"),
        (None, "rgbim: expected shape"),
    ],
)
def test_pictures(crf, image, message):
    check(lambda: crf.addPairwiseBilateral(80, 13, image, 3), message)


@pytest.mark.parametrize(
    "compat",
    [None, "3", 1j, np.nan, np.inf, [1, 2, 3], np.ones((2, 3)), np.ones((2, 2, 2)), [1, np.nan], [[1], [1, 2]], []],
)
def test_compatibilities(crf, compat):
    check(lambda: crf.addPairwiseGaussian(3, compat), "compat: ")


@pytest.mark.parametrize("value", [-1, 9, "DIAG_KERNEL", None, 1.0, True])
def test_constants(crf, value):
    check(lambda: crf.addPairwiseGaussian(3, 3, kernel=value), "kernel: expected one of CONST_KERNEL, DIAG")
    check(lambda: crf.addPairwiseGaussian(3, 3, normalization=value), "normalization: expected one of NO_NORM")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((2, 11)), "features: expected shape (any, 12)"),
        (np.zeros((0, 12)), "features: expected shape (any, 12)"),
        (np.zeros(12), "features: expected shape (any, 12)"),
        (np.full((2, 12), np.nan), "features: expected finite"),
        (np.full((2, 12), 1e300), "features: expected finite"),
        (np.zeros((256, 12)), "features: expected at most 255"),
        (1e9 * np.arange(24).reshape(2, 12), "features: too far apart for the lattice, they span 1.1e+10 standard"),
        (None, "features: expected an array"),
    ],
)
def test_features(crf, features, message):
    check(lambda: crf.addPairwiseEnergy(features, 3), re.escape(message))


def test_an_error_leaves_the_crf_as_it_was(crf):
    before = crf.inference(3)
    check(lambda: crf.addPairwiseGaussian(3, [1, 2, 3]), "compat: ")
    check(lambda: crf.setUnaryEnergy(np.full_like(UNARY, np.nan)), "u: ")
    np.testing.assert_array_equal(crf.inference(3), before)


def test_marginals_given_back(crf):
    q, first, second = crf.startInference()
    q[0] += 0.1
    check(lambda: crf.stepInference(q[:, :5], first, second), "Q: expected what startInference returned")
    check(lambda: crf.stepInference(q.astype(np.float64), first, second), "Q: ")
    check(lambda: crf.stepInference(None, first, second), "Q: ")
    check(lambda: crf.klDivergence(q[:1]), "Q: expected shape")
    check(lambda: crf.klDivergence(np.nan * q), "Q: expected finite")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("unary_from_labels", ([0, 1], 1, 0.5), "n_labels: "),
        ("unary_from_labels", ([0, 1], 2, 1.0), "gt_prob: "),
        ("unary_from_labels", ([0, 3], 2, 0.5), "labels: expected 1 to 2, 0 for unsure, got 0 to 3"),
        ("unary_from_labels", ([0, 2], 2, 0.5, False), "labels: expected 0 to 1, got 0 to 2"),
        ("unary_from_labels", ([-1, 1], 2, 0.5), "labels: "),
        (
            "unary_from_labels",
            ([0.5, 1], 2, 0.5),
            "labels: expected an array of integers, got float64 .* labels.astype",
        ),
        ("unary_from_labels", (np.zeros(0, int), 2, 0.5), "labels: "),
        ("unary_from_softmax", (0.5,), "sm: "),
        ("unary_from_softmax", (["a"],), "sm: "),
        ("unary_from_softmax", ([0.5, 0.5], 0), "scale: "),
        ("unary_from_softmax", ([0.5, 0.5], "1"), "scale: "),
        ("create_pairwise_gaussian", ((3, 3), (4, 5, 6)), "sdims: expected 3 numbers"),
        ("create_pairwise_gaussian", ((3, 0), (4, 5)), "sdims: "),
        ("create_pairwise_gaussian", (3, (4, 5)), "sdims: expected 2 numbers"),
        ("create_pairwise_gaussian", ((3, np.nan), (4, 5)), "sdims: "),
        ("create_pairwise_bilateral", ((3, 3, 3), 13, IMAGE, 2), "sdims: expected 2, one for each axis"),
        ("create_pairwise_bilateral", (3, 13, IMAGE, 2), "sdims: expected 2"),
        ("create_pairwise_bilateral", ((3, 3), (13, 13, 13), IMAGE), "schan: expected a number or 1, .*; see chdim"),
        ("create_pairwise_bilateral", ((3, 3), (13, 13, 13, 13), IMAGE, 2), "schan: expected a number or 3"),
        ("create_pairwise_bilateral", ((3, 3), None, IMAGE, 2), "schan: "),
        ("create_pairwise_bilateral", ((3, 3), "abc", IMAGE, 2), "schan: "),
        ("create_pairwise_bilateral", ((3, 3), (13, 13, 0), IMAGE, 2), "schan: "),
        ("create_pairwise_bilateral", ((3, 3), 13, IMAGE, 3), "img: "),
        ("create_pairwise_bilateral", ((3, 3), 13, [["a"]]), "img: "),
    ],
)
def test_utils(name, arguments, message):
    check(lambda: getattr(utils, name)(*arguments), message)

"""How programs call pydensecrf: sizes, types, layouts and orders of calls that are theirs, with either module."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module

import numpy as np
import pytest
from cases import photo, probabilities

from atrous.pydensecrf import densecrf, utils

HEIGHT, WIDTH = 21, 30


def modules(name):
    return import_module(f"{name}.densecrf"), import_module(f"{name}.utils")


def energies(labels, seed=0):
    return utils.unary_from_softmax(probabilities(np.random.default_rng(seed), labels, HEIGHT, WIDTH))


def picture(seed=0, channels=3):
    return photo(np.random.default_rng(seed), HEIGHT, WIDTH, channels)


def saturated_sigmoid(dcrf, _):
    """-log of probabilities that are 0 and 1, float32."""
    foreground = probabilities(np.random.default_rng(0), 2, HEIGHT, WIDTH)[0]
    foreground[:4], foreground[8:12] = 0, 1
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 2)
    with np.errstate(divide="ignore"):
        crf.setUnaryEnergy(np.ascontiguousarray(-np.log(np.stack([1 - foreground, foreground])).reshape(2, -1)))
    crf.addPairwiseGaussian(sxy=20, compat=3)
    crf.addPairwiseBilateral(sxy=30, srgb=20, rgbim=picture(), compat=10)
    return crf.inference(5)


def scaled_down(dcrf, _):
    """Standard deviations divided by the stride of a network: 3 / 12 pixels."""
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 21)
    crf.setUnaryEnergy(energies(21))
    crf.addPairwiseGaussian(sxy=3 / 12, compat=3)
    crf.addPairwiseBilateral(sxy=80 / 12, srgb=13, rgbim=np.copy(picture()), compat=10)
    return crf.inference(10)


def large_weights_without_normalization(dcrf, _):
    """As for the text of comics: messages of hundreds."""
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 2)
    crf.setUnaryEnergy(energies(2))
    crf.addPairwiseGaussian(sxy=1, compat=3, kernel=dcrf.DIAG_KERNEL, normalization=dcrf.NO_NORMALIZATION)
    crf.addPairwiseBilateral(sxy=46, srgb=4, rgbim=picture(), compat=40, normalization=dcrf.NO_NORMALIZATION)
    return crf.inference(5)


def fewer_channel_scales(dcrf, utils):
    """A W-Net's two scales for three channels, in front, and 0 to 1."""
    image = np.ascontiguousarray(picture().transpose(2, 0, 1) / np.float32(255))
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 5)
    crf.setUnaryEnergy(energies(5))
    crf.addPairwiseEnergy(utils.create_pairwise_bilateral((25, 25), (0.05, 0.05), image, chdim=0), compat=100)
    return crf.inference(20)


def colors_alone(dcrf, _):
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 3)
    crf.setUnaryEnergy(energies(3))
    crf.addPairwiseBilateral(sxy=np.inf, srgb=(13, 20, np.inf), rgbim=picture(), compat=4)
    return crf.inference(3)


def everything_alike(dcrf, _):
    """Standard deviations so large that all points are one."""
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 2)
    crf.setUnaryEnergy(energies(2))
    crf.addPairwiseGaussian(sxy=1e8, compat=np.array([1e-8, -1], np.float32))
    crf.addPairwiseBilateral(sxy=150, srgb=1e8, rgbim=picture(), compat=np.array([-1, 1e-8], np.float32))
    return crf.inference(10)


def one_label(dcrf, _):
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 1)
    crf.setUnaryEnergy(energies(2)[:1])
    crf.addPairwiseBilateral(sxy=67, srgb=3, rgbim=picture(), compat=4)
    return crf.inference(10)


def one_row(dcrf, _):
    """Views on a circle as a picture of one row, more labels than points, six features each."""
    rng = np.random.default_rng(1)
    crf = dcrf.DenseCRF2D(24, 1, 30)
    crf.setUnaryEnergy(rng.random((30, 24)).astype(np.float32) * 4)
    crf.addPairwiseEnergy(rng.random((6, 24)).astype(np.float32) * 3, compat=5)
    crf.addPairwiseGaussian(sxy=1, compat=1)
    return crf.inference(10)


def width_and_height_swapped(dcrf, utils):
    """Height first, which works as long as only features follow."""
    crf = dcrf.DenseCRF2D(HEIGHT, WIDTH, 4)
    crf.setUnaryEnergy(energies(4))
    crf.addPairwiseEnergy(utils.create_pairwise_gaussian((3, 3), (HEIGHT, WIDTH)), 3)
    crf.addPairwiseEnergy(utils.create_pairwise_bilateral((59, 59), (13,) * 4, picture(channels=4), chdim=2), 6)
    return crf.inference(5)


def one_repulsive_pair(dcrf, utils):
    """Costs and rewards in single entries of a matrix, over colors that are not whole numbers."""
    crf = dcrf.DenseCRF(HEIGHT * WIDTH, 3)
    crf.setUnaryEnergy(energies(3))
    for weight, scales in ((80, (100.0, 250.0, 250.0)), (-100, (5.0, 5.0, 5.0))):
        costs = np.array([[weight, 0, 0], [3, 0, 0], [0, 0, 0]], np.float32)
        colors = picture() / 2.7 - 40
        crf.addPairwiseEnergy(utils.create_pairwise_bilateral((10, 10), scales, colors, chdim=2), compat=costs)
    return crf.inference(5)


def one_unary_after_the_other(dcrf, _):
    """Kernels first, then the frames of a video."""
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 2)
    crf.addPairwiseBilateral(sxy=30, srgb=10, rgbim=picture(), compat=5)
    found = []
    for seed in range(3):
        crf.setUnaryEnergy(energies(2, seed))
        found.append(np.array(crf.inference(4)))
    return np.concatenate(found)


def marginals_written_to(dcrf, _):
    """A CRF without energies of its own as a filter of messages: Q is set before each step."""
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 3)
    crf.addPairwiseGaussian(sxy=(1.5, 2.5), compat=3)
    crf.setUnaryEnergy(np.zeros((3, HEIGHT * WIDTH), np.float32))
    q, first, second = crf.startInference()
    found = np.exp(-energies(3))
    for _ in range(3):
        np.asarray(q)[...] = found
        crf.stepInference(q, first, second)
        found = (found + np.asarray(q)) / 2
    return found


def until_the_divergence_settles(dcrf, _):
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 2)
    crf.setUnaryEnergy(energies(2))
    crf.addPairwiseBilateral(sxy=30, srgb=13, rgbim=picture(), compat=5)
    q, first, second = crf.startInference()
    for _ in range(20):
        before = crf.klDivergence(q)
        crf.stepInference(q, first, second)
        if abs(crf.klDivergence(q) - before) < 50:
            break
    return q


CALLS = [
    saturated_sigmoid,
    scaled_down,
    large_weights_without_normalization,
    pytest.param(fewer_channel_scales, marks=pytest.mark.filterwarnings("ignore:schan. got 2:UserWarning")),
    colors_alone,
    everything_alike,
    one_label,
    one_row,
    width_and_height_swapped,
    one_repulsive_pair,
    one_unary_after_the_other,
    marginals_written_to,
    until_the_divergence_settles,
]


@pytest.mark.parametrize("call", CALLS)
def test_it_works(call):
    q = np.array(call(densecrf, utils))
    assert np.isfinite(q).all()
    labels = {"one_label": 1, "one_row": 30, "one_unary_after_the_other": 2}.get(call.__name__)
    np.testing.assert_allclose(q[:labels].sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("call", CALLS)
def test_it_gives_what_pydensecrf_gives(call):
    pytest.importorskip("pydensecrf.densecrf", reason="pydensecrf2 is not installed")
    ours, theirs = (np.array(call(*modules(name))) for name in ("atrous.pydensecrf", "pydensecrf"))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


def marginals(seed):
    crf = densecrf.DenseCRF2D(WIDTH, HEIGHT, 3)
    crf.setUnaryEnergy(energies(3, seed))
    crf.addPairwiseBilateral(sxy=49, srgb=5, rgbim=picture(seed), compat=4)
    return crf.inference(5)


def threads():
    return ThreadPoolExecutor(3)


@pytest.mark.parametrize(
    "pool",
    [
        threads,
        partial(multiprocessing.get_context("spawn").Pool, 2),
        pytest.param(
            lambda: multiprocessing.get_context("fork").Pool(2),
            marks=pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here"),
        ),
    ],
    ids=["threads", "spawned", "forked"],
)
def test_pools(pool):
    expected = [marginals(seed) for seed in range(4)]  # the parent has computed before it forks
    with pool() as workers:
        np.testing.assert_array_equal(list(workers.map(marginals, range(4))), expected)

"""A user's mistakes: each names its argument, in one line."""

import numpy as np
import pytest
from PIL import Image

from atrous.crf import Bilateral, DenseCRF, Gaussian, Spatial, exact
from atrous.errors import InputError

IMAGE = np.zeros((4, 5, 3), np.uint8)
KERNELS = [Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=49, srgb=5)]
GOOD = np.full((2, 4, 5), 0.5)


def with_value(value):
    p = GOOD.copy()
    p[1, 2, 3] = value
    return p


def fails(argument, call):
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert message.startswith(f"{argument}:"), message
    assert "expected" in message or "features" in message
    assert "\n" not in message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.1, 1.5])
def test_probabilities_with_values_that_are_none(value):
    fails("probabilities", lambda: DenseCRF(IMAGE, KERNELS)(with_value(value)))
    fails("probabilities", lambda: DenseCRF(IMAGE, KERNELS).labels(with_value(value)))
    fails("probabilities", lambda: exact(IMAGE, KERNELS, with_value(value)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e31, 1e300])
def test_energies_that_are_not_finite(value):
    fails("energies", lambda: DenseCRF(IMAGE, KERNELS)(energies=with_value(value)))


@pytest.mark.parametrize(
    "shape", [(4, 5), (2, 5, 4), (0, 4, 5), (4, 5, 0), (2, 4, 5, 1, 1), (2, 5, 4, 2), (1, 0, 4, 5), (1, 2, 3, 4, 5), ()]
)
def test_shapes(shape):
    fails("probabilities", lambda: DenseCRF(IMAGE, KERNELS)(np.zeros(shape)))


def test_labels_written_as_probabilities():
    hard = np.zeros((2, 4, 5), np.uint8)
    hard[0, :2] = hard[1, 2:] = 1
    for given in (hard, hard.astype(float), np.stack([hard, hard]), np.moveaxis(hard, 0, -1)):
        fails("probabilities", lambda given=given: DenseCRF(IMAGE, KERNELS).labels(given))
    background = np.zeros((2, 4, 5))
    background[0] = 1  # a confident network on an image of one label
    assert (DenseCRF(IMAGE, KERNELS).labels(background) == 0).all()


def test_a_volume_read_as_an_image_of_bands(rng):
    volume = rng.integers(0, 256, (4, 5, 6)).astype(np.uint8)
    p = rng.dirichlet([1, 1, 1], (4, 5, 6)).transpose(3, 0, 1, 2)
    fails("probabilities", lambda: DenseCRF(volume, KERNELS)(p))
    assert DenseCRF(volume[..., None], KERNELS)(p).shape == p.shape


def test_palette_images():
    fails("image", lambda: DenseCRF(Image.fromarray(IMAGE).convert("P"), KERNELS))


def test_both_or_neither():
    fails("probabilities", lambda: DenseCRF(IMAGE, KERNELS)())
    fails("probabilities", lambda: DenseCRF(IMAGE, KERNELS)(GOOD, energies=GOOD))


@pytest.mark.parametrize("values", [np.array(["a"]), np.zeros((2, 4, 5), complex), np.array(None)])
def test_no_numbers(values):
    fails("probabilities", lambda: DenseCRF(IMAGE, KERNELS)(values))


@pytest.mark.parametrize("sigma", [0, -1, 1e-300, np.nan, np.inf, "3", None, (), (3, 0), (1, np.nan), True])
def test_sigmas(sigma):
    fails("sxy", lambda: Spatial(weight=3, sxy=sigma))
    fails("sxy", lambda: Bilateral(weight=3, sxy=sigma, srgb=5))
    fails("srgb", lambda: Bilateral(weight=3, sxy=5, srgb=sigma))


@pytest.mark.parametrize("weight", [np.nan, np.inf, "3", None, 1e10])
def test_weights(weight):
    fails("weight", lambda: Spatial(weight=weight, sxy=3))
    fails("weight", lambda: Bilateral(weight=weight, sxy=3, srgb=5))
    fails("weight", lambda: Gaussian(np.zeros((4, 2)), weight=weight))


@pytest.mark.parametrize("share", [-0.1, 1.5, np.nan, None, "0.1", True])
def test_tolerance_and_prune(share):
    fails("tolerance", lambda: DenseCRF(IMAGE, KERNELS, tolerance=share))
    if share is not None:
        fails("prune", lambda: DenseCRF(IMAGE, KERNELS, prune=share))


@pytest.mark.parametrize("channels", ["middle", 0, True])
def test_channels(channels):
    fails("channels", lambda: DenseCRF(IMAGE, KERNELS)(GOOD, channels=channels))


def test_channels_that_do_not_fit():
    fails("probabilities", lambda: DenseCRF(IMAGE, KERNELS)(GOOD, channels="last"))
    fails("probabilities", lambda: DenseCRF(IMAGE, KERNELS)(np.moveaxis(GOOD, 0, -1), channels="first"))


def test_no_batch_for_one_inference():
    fails("probabilities", lambda: DenseCRF(IMAGE, KERNELS).infer(GOOD[None]))
    fails("probabilities", lambda: exact(IMAGE, KERNELS, GOOD[None]))


@pytest.mark.parametrize("kernels", ["deeplab-huge", [3], 7, [Spatial], None])
def test_kernels(kernels):
    fails("kernels", lambda: DenseCRF(IMAGE, kernels))


def test_unknown_names():
    fails("normalization", lambda: DenseCRF(IMAGE, KERNELS, normalization="sideways"))
    fails("normalization", lambda: Spatial(weight=3, sxy=3, normalization="sideways"))
    fails("normalization", lambda: exact(IMAGE, KERNELS, GOOD, normalization=None))
    fails("filtering", lambda: DenseCRF(IMAGE, KERNELS, filtering="fourier"))


@pytest.mark.parametrize("iterations", [-1, 1.5, None, "10", True, 2**40])
def test_iterations(iterations):
    fails("iterations", lambda: DenseCRF(IMAGE, KERNELS, iterations=iterations))
    crf = DenseCRF(IMAGE, KERNELS)
    fails("iterations", lambda: setattr(crf, "iterations", iterations))
    assert crf.iterations == 10


@pytest.mark.parametrize("threads", [0, -2, 1.5, "two", 10**6])
def test_threads(threads):
    fails("threads", lambda: DenseCRF(IMAGE, KERNELS, threads=threads))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros(5, np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((4, 5, 0), np.uint8),
        np.zeros((4, 5, 17), np.uint8),  # a volume?
        np.zeros((4, 5, 3), complex),
        np.full((4, 5, 3), np.nan),
        np.full((4, 5, 3), np.inf, np.float16),
        np.linspace(0, 1, 60).reshape(4, 5, 3),  # of which srgb=5 sees nothing
        np.linspace(-1, 1, 60).reshape(4, 5, 3),
        np.linspace(-2.1, 2.6, 60).reshape(4, 5, 3),  # less ImageNet's mean, over its standard deviation
        None,
        "photo.jpg",
        [[[1, 2, 3]], [[1, 2]]],
        object(),
    ],
)
def test_images(image):
    fails("image", lambda: DenseCRF(image, KERNELS))


def test_an_image_has_the_axes_that_the_kernels_say():
    fails("image", lambda: DenseCRF(IMAGE[:, 0], [Spatial(weight=1, sxy=(1, 2, 3))]))
    fails("sxy", lambda: DenseCRF(IMAGE, [Spatial(weight=1, sxy=(1, 2)), Bilateral(weight=1, sxy=(1, 2, 3), srgb=1)]))
    fails("srgb", lambda: DenseCRF(IMAGE, [Bilateral(weight=1, sxy=1, srgb=(1, 2))]))
    fails("srgb", lambda: DenseCRF(IMAGE[..., 0], [Bilateral(weight=1, sxy=1, srgb=(1, 2, 3))]))


def test_a_bilateral_kernel_needs_an_image():
    fails("image", lambda: DenseCRF(None, [Gaussian(np.zeros((4, 5, 2)), weight=1), KERNELS[1]]))
    fails("image", lambda: DenseCRF(None, KERNELS[:1]))


@pytest.mark.parametrize("compatibility", [np.ones(3), np.ones((2, 3)), np.ones((3, 3)), [np.nan, 1], "potts", 1.0, []])
def test_compatibilities(compatibility):
    fails("compatibility", lambda: DenseCRF(IMAGE, KERNELS, compatibility=compatibility)(GOOD))
    fails("compatibility", lambda: exact(IMAGE, KERNELS, GOOD, compatibility=compatibility))
    fails(
        "compatibility",
        lambda: DenseCRF(IMAGE, [Spatial(weight=1, sxy=1, compatibility=compatibility)])(GOOD),
    )


@pytest.mark.parametrize(
    "features",
    [np.zeros(4), np.zeros((0, 2)), np.zeros((4, 0)), [[np.nan]], [[np.inf]], [["a"]], [[1], [1, 2]]],
)
def test_features(features):
    fails("features", lambda: Gaussian(features, weight=1))


def test_features_that_disagree():
    fails("features", lambda: DenseCRF(IMAGE, [Gaussian(np.zeros((5, 4, 2)), weight=1)]))


def test_features_that_the_lattice_cannot_hold():
    fails("features", lambda: DenseCRF(None, [Gaussian(np.zeros((4, 17)), weight=1)]))
    fails("features", lambda: DenseCRF(None, [Gaussian([[0.0], [1e7]], weight=1)]))
    fails("features", lambda: DenseCRF(None, [Gaussian([[0.0], [1e300]], weight=1)]))
    fails("sxy, srgb", lambda: DenseCRF(IMAGE + np.uint8(255), [Bilateral(weight=1, sxy=1e-6, srgb=1e-6)]))
    fails("sxy, srgb", lambda: DenseCRF(IMAGE + np.uint8(255), [Bilateral(weight=1, sxy=1, srgb=1e-30)]))


def test_a_tiny_spatial_sigma_is_no_mistake():
    q = DenseCRF(IMAGE, [Spatial(weight=1, sxy=1e-6)])(GOOD)
    np.testing.assert_allclose(q, 0.5, atol=1e-6)


def test_exact_is_for_small_images():
    image = np.zeros((200, 200, 3), np.uint8)
    fails("image", lambda: exact(image, KERNELS, np.full((2, 200, 200), 0.5)))

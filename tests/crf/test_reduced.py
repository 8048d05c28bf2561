"""Images with more vertices than allowed: their CRF at half the size."""

from pathlib import Path

import numpy as np
import pytest
from scenes import random_probabilities

from atrous.crf import Bilateral, DenseCRF, Gaussian, Spatial
from atrous.crf.reduced import halved, most_vertices
from atrous.errors import InputError
from atrous.image_io.decode import read_image

EXAMPLES = Path(__file__).parents[2] / "examples"

KERNELS = [Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=20, srgb=5)]
SMALLER = [Spatial(weight=3, sxy=1.5), Bilateral(weight=4, sxy=10, srgb=5)]


@pytest.fixture
def noise(rng):
    return rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)


def doubled(planes):
    """Planes (C, h, w) at twice the size, from the four nearest points: 9, 3, 3 and 1 sixteenths."""
    padded = np.pad(planes.astype(np.float64), ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = np.stack([0.25 * padded[:, :-2] + 0.75 * padded[:, 1:-1], 0.75 * padded[:, 1:-1] + 0.25 * padded[:, 2:]], 2)
    rows = rows.reshape(len(planes), -1, padded.shape[2])
    both = [0.25 * rows[..., :-2] + 0.75 * rows[..., 1:-1], 0.75 * rows[..., 1:-1] + 0.25 * rows[..., 2:]]
    return np.stack(both, 3).reshape(len(planes), rows.shape[1], -1)


def test_an_image_with_fewer_vertices_is_left_as_it_is(rng, noise):
    p = random_probabilities(rng, 3, (40, 56))
    bounded = DenseCRF(noise, KERNELS, max_vertices=6 * 40 * 56)
    assert bounded.reduced is None
    np.testing.assert_array_equal(bounded(p), DenseCRF(noise, KERNELS)(p))
    np.testing.assert_array_equal(bounded.enlarged(p), p)


def test_one_with_more_is_computed_at_half_its_size(rng, noise):
    p = random_probabilities(rng, 3, (40, 56))
    crf = DenseCRF(noise, KERNELS, max_vertices=4000)
    assert crf.reduced.shape == (20, 28)
    assert crf.reduced.reduced is None
    blocks = noise.reshape(20, 2, 28, 2, 3).mean(axis=(1, 3))
    small = DenseCRF(np.rint(blocks).astype(np.uint8), SMALLER)
    expected = doubled(small(p.reshape(3, 20, 2, 28, 2).mean(axis=(2, 4))))
    np.testing.assert_allclose(crf(p), expected, atol=1e-3)
    np.testing.assert_allclose(crf(p).sum(axis=0), 1, rtol=1e-5)
    np.testing.assert_array_equal(crf.labels(p), crf(p).argmax(axis=0))


def test_halved_as_often_as_it_takes(rng, noise):
    crf = DenseCRF(noise, KERNELS, max_vertices=1000)
    assert crf.reduced.reduced.shape == (10, 14)
    q = crf(random_probabilities(rng, 3, (40, 56)))
    assert q.shape == (3, 40, 56)
    np.testing.assert_allclose(q.sum(axis=0), 1, rtol=1e-5)


def test_any_layout(rng, noise):
    noise = noise[:39, :55]  # odd sides
    p = random_probabilities(rng, 3, (2, 39, 55)).swapaxes(0, 1)
    crf = DenseCRF(noise, KERNELS, max_vertices=4000)
    q = crf(p)
    assert q.shape == p.shape
    np.testing.assert_array_equal(q[1], crf(p[1]))
    np.testing.assert_allclose(crf(np.moveaxis(p, 1, -1)), np.moveaxis(q, 1, -1), atol=1e-6)
    out = np.empty(p.shape, np.float16)
    assert crf(p, out=out) is out
    np.testing.assert_allclose(out, q, atol=1e-3)
    np.testing.assert_array_equal(crf.labels(p), q.argmax(axis=1))
    energies = crf(energies=np.full((3, 39, 55), 2.0) * np.arange(3)[:, None, None])
    np.testing.assert_array_equal(energies.argmax(axis=0), 0)


def test_a_report(rng, noise):
    p = random_probabilities(rng, 3, (40, 56))
    crf = DenseCRF(noise, KERNELS, max_vertices=4000)
    found = crf.infer(p, trace=True)
    np.testing.assert_array_equal(found.probabilities, crf(p))
    np.testing.assert_array_equal(found.labels, crf.labels(p))
    assert found.labels.dtype == np.uint8
    assert found.steps == 10
    assert found.energy.shape == (11,)
    place = p.copy()
    assert crf.infer(place, out=place).probabilities is place
    np.testing.assert_array_equal(place, found.probabilities)


def test_steps_that_are_set_later(rng, noise):
    p = random_probabilities(rng, 3, (40, 56))
    crf = DenseCRF(noise, KERNELS, max_vertices=4000)
    crf.iterations = 1
    np.testing.assert_array_equal(crf(p), DenseCRF(noise, KERNELS, max_vertices=4000, iterations=1)(p))


@pytest.mark.parametrize("normalization", ["none", "before", "after", "symmetric"])
def test_messages_are_as_strong_as_those_of_all_points(normalization):
    """Without normalization fewer points would say less: a sixteenth of the strength here."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :, 0] = np.arange(64)[:, None]
    p = np.full((2, 64, 64), 0.5, np.float32)
    p[0] = np.linspace(0.45, 0.52, 64, dtype=np.float32)
    p[1] = 1 - p[0]
    kernels = [Bilateral(weight=0.02 if normalization == "none" else 2, sxy=8, srgb=2)]
    options = {"normalization": normalization, "iterations": 1}
    whole, reduced = DenseCRF(image, kernels, **options), DenseCRF(image, kernels, **options, max_vertices=1000)
    assert reduced.reduced is not None
    moved = np.abs(whole(p) - p).max()
    assert moved > 0.01
    assert np.abs(whole(p) - reduced(p)).max() < 0.5 * moved


def test_noise_spoils_it_less():
    """On a noisy picture of two halves the reduced CRF is nearer to that of the clean one than the whole is."""
    rng = np.random.default_rng(0)
    clean = np.full((96, 96, 3), 90, np.uint8)
    clean[:, 48:] = 130
    noisy = np.clip(clean + rng.normal(0, 20, clean.shape), 0, 255).astype(np.uint8)
    p = np.full((2, 96, 96), 0.35, np.float32)
    p[0, :, :52], p[1, :, 52:] = 0.65, 0.65  # the border is a little off
    kernels = [Bilateral(weight=4, sxy=30, srgb=13)]
    truth = DenseCRF(clean, kernels).labels(p)
    wrong = [np.mean(DenseCRF(noisy, kernels, max_vertices=most).labels(p) != truth) for most in (None, 4000)]
    assert truth[0, 49] == 1
    assert wrong[1] < 0.5 * wrong[0]


def test_volumes_and_features(rng):
    volume = rng.integers(0, 256, (12, 14, 15, 1), dtype=np.uint8)
    p = random_probabilities(rng, 3, (12, 14, 15))
    features = np.concatenate([np.moveaxis(np.indices((12, 14, 15)), 0, -1) / 3, volume / 9], axis=-1)
    for image, kernel in ((volume, Bilateral(weight=4, sxy=3, srgb=9)), (None, Gaussian(features, weight=4))):
        crf = DenseCRF(image, [kernel], max_vertices=2500)
        assert crf.reduced.shape == (6, 7, 8)
        np.testing.assert_allclose(crf(p).sum(axis=0), 1, rtol=1e-5)


def test_fine_lattices_are_bounded_too(rng, noise):
    assert DenseCRF(noise, KERNELS, filtering="fine", max_vertices=4000).reduced is not None


def test_halves():
    values = np.array([[0, 3, 10], [1, 4, 20], [9, 9, 9]])
    np.testing.assert_array_equal(halved(values, (0, 1)), [[2, 15], [9, 9]])
    np.testing.assert_array_equal(halved(values.astype(np.float32), (1,)), [[1.5, 10], [2.5, 20], [9, 9]])


@pytest.mark.parametrize("name", ["max_vertices", "max_points"])
@pytest.mark.parametrize("bound", [0, 999, 1e4, True, "1000"])
def test_bounds_that_are_none(noise, name, bound):
    with pytest.raises(InputError, match=name):
        DenseCRF(noise, KERNELS, **{name: bound})


@pytest.mark.parametrize("name", ["max_vertices", "max_points"])
def test_tiles_are_not_reduced(noise, name):
    with pytest.raises(InputError, match=name):
        DenseCRF(noise, KERNELS, tile=20, **{name: 4000})


def test_a_large_image_is_reduced_until_it_has_few_points(rng):
    flat = np.zeros((80, 60, 3), np.uint8)
    p = random_probabilities(rng, 3, (80, 60))
    assert DenseCRF(flat, KERNELS, max_points=4800).reduced is None
    by_points = DenseCRF(flat, KERNELS, max_points=4799)
    assert (by_points.reduction, by_points.reduced.shape) == (2, (40, 30))
    assert DenseCRF(flat, KERNELS, max_points=1199).reduction == 4
    small = DenseCRF(np.zeros((40, 30, 3), np.uint8), SMALLER)
    expected = doubled(small(p.reshape(3, 40, 2, 30, 2).mean(axis=(2, 4))))
    np.testing.assert_allclose(by_points(p), expected, atol=1e-3)


class TestPhotos:
    """As large as photos of cameras: the pixels are made small by standing for many."""

    KERNELS = (Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=1000, srgb=3))

    @pytest.fixture
    def few(self, monkeypatch):
        monkeypatch.setattr("atrous.crf.reduced._SMALL_LIMIT", 1000)

    def test_noise_may_have_a_vertex_a_pixel(self, rng, few):
        smooth = np.add.outer(np.arange(400), np.arange(500))[..., None] / 900 * [100, 200, 50]
        for sigma in (5, 20):
            noisy = np.clip(smooth + rng.normal(0, sigma, (400, 500, 3)), 0, 255).astype(np.uint8)
            assert most_vertices(noisy, self.KERNELS) == 400 * 500
        assert most_vertices(rng.integers(0, 256, (400, 500, 3), dtype=np.uint8), self.KERNELS) == 400 * 500

    def test_texture_may_have_two(self, few):
        photo = read_image(EXAMPLES / "astronaut.jpg")
        for image in (photo, photo[::-1, :333], np.zeros((400, 500, 3), np.uint8)):
            assert most_vertices(image, self.KERNELS) == 2 * image.shape[0] * image.shape[1]

    def test_only_bilateral_kernels_count(self, rng, few):
        noise = rng.integers(0, 256, (400, 500, 3), dtype=np.uint8)
        assert most_vertices(noise, self.KERNELS[:1]) == 2 * 400 * 500

    @pytest.mark.parametrize("shape", [(1, 40_000), (40_000, 1), (119, 500), (120, 128)])
    def test_any_shape(self, rng, few, shape):
        bound = most_vertices(rng.integers(0, 256, (*shape, 3), dtype=np.uint8), self.KERNELS)
        assert bound in (shape[0] * shape[1], 2 * shape[0] * shape[1])

    def test_up_to_two_megapixels_there_is_room_for_any_noise(self, rng):
        assert most_vertices(rng.integers(0, 256, (50, 50, 3), dtype=np.uint8), self.KERNELS) >= 6 * 2_000_000

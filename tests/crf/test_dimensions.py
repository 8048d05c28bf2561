"""Signals, volumes, any number of bands of any type."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import random_image, random_probabilities

from atrous.crf import Bilateral, DenseCRF, Gaussian, Spatial, exact
from atrous.crf._lower import build_term
from atrous.crf._variables import check_variables

TYPES = [np.uint8, np.int16, np.uint16, np.int64, np.float16, np.float32, np.float64]


class TestKernelsAreGaussiansOfTheirFeatures:
    @given(
        shape=st.lists(st.integers(1, 6), min_size=2, max_size=4).map(tuple),
        bands=st.integers(1, 5),
        dtype=st.sampled_from(TYPES),
        seed=st.integers(0, 2**32 - 1),
    )
    @settings(max_examples=40, deadline=None)
    def test_any_grid(self, shape, bands, dtype, seed):
        rng = np.random.default_rng(seed)
        axes = len(shape)
        image = rng.integers(0, 100, (*shape, bands)).astype(dtype)
        sxy, srgb = rng.uniform(1, 4, axes), rng.uniform(5, 50, bands)
        kernels = [
            Spatial(weight=0.3, sxy=tuple(sxy)),
            Bilateral(weight=0.4, sxy=tuple(sxy[::-1]), srgb=tuple(srgb)),
        ]
        places = np.moveaxis(np.indices(shape), 0, -1)[..., ::-1]  # x first
        features = np.concatenate([places / sxy[::-1], image / srgb], axis=-1)
        same = [Gaussian(places / sxy, weight=0.3), Gaussian(features, weight=0.4)]
        p = random_probabilities(rng, 3, shape)
        truth = exact(None, same, p)
        np.testing.assert_allclose(exact(image, kernels, p), truth, atol=1e-6)
        np.testing.assert_allclose(DenseCRF(image, kernels, filtering="exact", prune=0)(p), truth, atol=1e-5)

    def test_one_standard_deviation_for_all(self, rng):
        image = rng.integers(0, 256, (4, 5, 6, 2)).astype(np.uint8)
        p = random_probabilities(rng, 3, (4, 5, 6))
        one = [Spatial(weight=1, sxy=2), Bilateral(weight=2, sxy=3, srgb=40)]
        each = [Spatial(weight=1, sxy=(2, 2, 2)), Bilateral(weight=2, sxy=(3, 3, 3), srgb=(40, 40))]
        np.testing.assert_array_equal(DenseCRF(image, one)(p), DenseCRF(image, each)(p))


class TestVolumes:
    def test_anisotropic_voxels(self, rng):
        # Slices of a volume that are far apart: each is its own image.
        volume = np.stack([random_image(rng, 12, 17) for _ in range(3)])
        p = random_probabilities(rng, 4, (3, 12, 17))
        sxy = (3, 3, 1e-3)
        q = DenseCRF(volume, [Spatial(weight=1, sxy=sxy)], prune=0)(p)
        for z in range(3):
            alone = DenseCRF(volume[z], [Spatial(weight=1, sxy=3)], prune=0)(p[:, z])
            np.testing.assert_allclose(q[:, z], alone, atol=1e-5)

    def test_lattice_and_exact_agree(self, rng):
        volume = np.zeros((12, 16, 16, 1), np.int16)
        volume[3:9, 4:12, 4:12] = 900
        volume += rng.normal(0, 30, volume.shape).astype(np.int16)
        p = np.where(volume[..., 0] > 450, 0.7, 0.3) + rng.normal(0, 0.2, volume.shape[:-1])
        p = np.clip([1 - p, p], 0.01, 0.99)
        kernels = [Spatial(weight=1, sxy=(2, 2, 1)), Bilateral(weight=3, sxy=(8, 8, 4), srgb=150)]
        truth = exact(volume, kernels, p).argmax(axis=0)
        assert np.mean(DenseCRF(volume, kernels).labels(p) != truth) < 0.01
        assert np.mean(truth != (volume[..., 0] > 450)) < 0.01 < np.mean(p.argmax(axis=0) != truth)

    def test_a_volume_without_bands_where_the_kernels_say_so(self, rng):
        volume = rng.normal(size=(4, 5, 6)).astype(np.float32)
        p = random_probabilities(rng, 3, (4, 5, 6))
        for kernels in (
            [Bilateral(weight=1, sxy=(2, 2, 1), srgb=1)],
            [Bilateral(weight=1, sxy=2, srgb=1), Gaussian(rng.normal(size=(4, 5, 6, 2)), weight=1)],
        ):
            q = DenseCRF(volume, kernels)(p)
            np.testing.assert_array_equal(q, DenseCRF(volume[..., None], kernels)(p))

    def test_a_signal(self, rng):
        signal = np.repeat([0.0, 5.0], 50) + rng.normal(size=100) * 0.3
        features = np.stack([np.arange(100) / 30, signal], axis=-1)
        p = np.clip([0.6 - signal / 25 + rng.normal(size=100) * 0.2, np.full(100, 0.5)], 0.01, 0.99)
        labels = DenseCRF(None, [Gaussian(features, weight=5)]).labels(p / p.sum(axis=0))
        assert labels.tolist() == [0] * 50 + [1] * 50
        assert (p.argmax(axis=0) != labels).sum() > 10


class TestImages:
    def test_gray(self, rng):
        image = random_image(rng, 12, 17)[..., 0]
        p = random_probabilities(rng, 3, (12, 17))
        kernels = [Spatial(weight=1, sxy=2), Bilateral(weight=4, sxy=20, srgb=10)]
        np.testing.assert_array_equal(DenseCRF(image, kernels)(p), DenseCRF(image[..., None], kernels)(p))

    @pytest.mark.parametrize("dtype", TYPES)
    def test_any_type_of_the_same_values(self, rng, dtype):
        image = random_image(rng, 12, 17) // 2
        p = random_probabilities(rng, 3, (12, 17))
        kernels = [Bilateral(weight=4, sxy=20, srgb=10)]
        np.testing.assert_allclose(DenseCRF(image.astype(dtype), kernels)(p), DenseCRF(image, kernels)(p), atol=1e-6)

    def test_values_far_from_zero_keep_their_digits(self, rng):
        heights = rng.normal(size=(12, 17, 1))
        p = random_probabilities(rng, 3, (12, 17))
        kernels = [Bilateral(weight=4, sxy=20, srgb=0.5)]
        near = DenseCRF(heights, kernels, filtering="exact")(p)
        far = DenseCRF(heights + 5e6, kernels, filtering="exact")(p)
        np.testing.assert_allclose(far, near, atol=1e-3)

    def test_depth_separates_what_color_does_not(self):
        image = np.full((8, 30, 4), 100, np.float32)  # one gray, and meters
        image[:, :15, 3], image[:, 15:, 3] = 1, 3
        p = np.full((2, 8, 30), 0.5)
        p[:, :, 0] = np.array([0.9, 0.1])[:, None]
        p[:, :, -1] = np.array([0.1, 0.9])[:, None]
        labels = DenseCRF(image, [Bilateral(weight=10, sxy=40, srgb=(10, 10, 10, 0.2))]).labels(p)
        assert (labels == (np.arange(30) >= 15)).all()

    @pytest.mark.parametrize("bands", [1, 5, 14])
    def test_up_to_sixteen_features_on_the_lattice(self, rng, bands):
        image = np.repeat(random_image(rng, 12, 17)[..., :1], bands, axis=-1)
        p = random_probabilities(rng, 3, (12, 17))
        q = DenseCRF(image, [Bilateral(weight=1, sxy=20, srgb=40)])(p)
        np.testing.assert_allclose(q.sum(axis=0), 1, rtol=1e-5)

    @pytest.mark.parametrize(
        ("shape", "sxy", "points"),
        [
            ((4, 5), 1, (4, 5)),
            ((4, 5, 6), 1, (4, 5)),
            ((4, 5, 6), (1, 2), (4, 5)),
            ((4, 5, 6), (1, 2, 3), (4, 5, 6)),
            ((4, 5, 40), (1, 2), (4, 5)),
            ((4, 5, 40), (1, 2, 3), (4, 5, 40)),
            ((4, 5, 6, 2), 1, (4, 5, 6)),
            ((4, 5, 6, 2), (1, 2, 3), (4, 5, 6)),
        ],
    )
    def test_which_axes_are_points(self, shape, sxy, points):
        array, found = check_variables(np.zeros(shape, np.uint8), [Spatial(weight=1, sxy=sxy)])
        assert found == points
        assert array.shape[:-1] == points


def term(kernel, shape, *, normalization="after", filtering="lattice"):
    image = np.zeros((*shape, 3), np.uint8)
    return build_term(kernel, None, image, shape, normalization=normalization, filtering=filtering, threads=1)


class TestWideSpatialKernels:
    def test_the_lattice_stands_in(self, rng, monkeypatch):
        image = np.zeros((180, 240, 3), np.uint8)
        p = random_probabilities(rng, 3, (15, 20)).repeat(12, axis=1).repeat(12, axis=2)
        kernels = [Spatial(weight=3, sxy=27)]
        lattice = DenseCRF(image, kernels)
        assert term(kernels[0], (180, 240)).filter.vertices is not None
        monkeypatch.setattr("atrous.crf._lower.WIDEST_DOWNSAMPLED", np.inf)
        grid = DenseCRF(image, kernels)
        assert term(kernels[0], (180, 240)).filter.vertices is None
        assert np.mean(lattice.labels(p) != grid.labels(p)) < 0.01

    @pytest.mark.parametrize("sxy", [3, 12, 25])
    def test_every_second_pixel_is_enough(self, rng, monkeypatch, sxy):
        image = np.zeros((170, 170, 3), np.uint8)
        p = random_probabilities(rng, 3, (17, 17)).repeat(10, axis=1).repeat(10, axis=2)
        found = DenseCRF(image, [Spatial(weight=3, sxy=sxy)])(probabilities=p)
        monkeypatch.setattr("atrous.crf._lower._LEAST_WEIGHT", 2.0**-25)  # which no halving reaches
        np.testing.assert_allclose(DenseCRF(image, [Spatial(weight=3, sxy=sxy)])(probabilities=p), found, atol=1e-3)

    @pytest.mark.parametrize(
        ("shape", "sxy", "filtering"),
        [
            ((180, 240), 25, "lattice"),
            ((180, 240), 27, "exact"),
            ((75, 100), 27, "lattice"),  # nothing to save
            ((90, 120), (12, 1e-3), "lattice"),  # no lattice is long enough
        ],
    )
    def test_else_it_does_not(self, shape, sxy, filtering):
        assert term(Spatial(weight=3, sxy=sxy), shape, filtering=filtering).filter.vertices is None

    @pytest.mark.parametrize("normalization", ["before", "after", "symmetric"])
    def test_the_grids_normalizers_are_those_of_its_filter(self, normalization):
        grid = term(Spatial(weight=2, sxy=(3, 7)), (20, 30), normalization=normalization)
        mass = np.empty((1, 600), np.float32)
        grid.filter.apply(np.ones((1, 600), np.float32), mass, 1)
        power = {"before": 0, "after": -1, "symmetric": -0.5}[normalization]
        np.testing.assert_allclose(grid.post_scale, 2 * mass[0] ** power, rtol=1e-5)
        if grid.pre_scale is not None:
            np.testing.assert_allclose(grid.pre_scale, mass[0] ** (-1 - power), rtol=1e-5)

"""An image cut into tiles against the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import random_image, random_probabilities

from atrous.crf import Bilateral, DenseCRF, Gaussian, Spatial
from atrous.crf.tiling import cut
from atrous.errors import InputError

KERNELS = (Spatial(weight=3, sxy=2), Bilateral(weight=4, sxy=6, srgb=10))


@pytest.fixture
def image(rng):
    return random_image(rng, 70, 90)


@pytest.fixture
def probabilities(rng):
    return random_probabilities(rng, 4, (70, 90))


class TestCut:
    def test_by_eye(self):
        first, second = cut((10,), (6,), (2,))
        assert (first.core, first.seen, first.inner) == ((slice(0, 5),), (slice(0, 7),), (slice(0, 5),))
        assert (second.core, second.seen, second.inner) == ((slice(5, 10),), (slice(3, 10),), (slice(2, 7),))

    @given(
        st.lists(st.tuples(st.integers(1, 40), st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=3),
    )
    @settings(max_examples=40, deadline=None)
    def test_every_point_is_in_one_core(self, axes):
        shape, sizes, overlap = zip(*axes, strict=True)
        times = np.zeros(shape, int)
        for tile in cut(shape, sizes, overlap):
            times[tile.core] += 1
            assert all(0 < c.stop - c.start <= size for c, size in zip(tile.core, sizes, strict=True))
            assert np.zeros(shape)[tile.seen][tile.inner].shape == np.zeros(shape)[tile.core].shape
        assert (times == 1).all()


class TestAgainstTheWhole:
    @pytest.mark.parametrize("filtering", ["lattice", "fine", "exact"])
    def test_same_where_a_tile_sees_all(self, image, probabilities, filtering):
        if filtering == "exact":  # whose time grows with the square of the pixels
            image, probabilities = image[:45, :40], probabilities[:, :45, :40]
        whole = DenseCRF(image, KERNELS, filtering=filtering)
        tiled = DenseCRF(image, KERNELS, filtering=filtering, tile=(40, 30), overlap=90)
        np.testing.assert_allclose(tiled(probabilities), whole(probabilities), atol=1e-6)
        np.testing.assert_array_equal(tiled.labels(probabilities), whole.labels(probabilities))

    def test_comes_nearer_with_the_overlap(self, image, probabilities):
        whole = DenseCRF(image, KERNELS)(probabilities)
        errors = [
            np.abs(DenseCRF(image, KERNELS, tile=30, overlap=overlap)(probabilities) - whole).mean()
            for overlap in (1, 6, 18)
        ]
        assert errors[0] > 2 * errors[1] > 4 * errors[2]
        default = DenseCRF(image, KERNELS, tile=30)(probabilities)
        np.testing.assert_array_equal(default, DenseCRF(image, KERNELS, tile=30, overlap=18)(probabilities))

    def test_steps_that_are_set_later(self, image, probabilities):
        crf = DenseCRF(image, KERNELS, tile=20)
        crf.iterations = 1
        expected = DenseCRF(image, KERNELS, tile=20, iterations=1)(probabilities)
        np.testing.assert_array_equal(crf(probabilities), expected)

    def test_layouts_batches_energies_and_compatibilities(self, image, probabilities):
        options = {"compatibility": [1, 2, 1, 0.5], "iterations": 3}
        whole = DenseCRF(image, KERNELS, **options)
        tiled = DenseCRF(image, KERNELS, tile=40, overlap=90, **options)
        energies = -np.log(np.moveaxis(probabilities, 0, -1))
        np.testing.assert_allclose(tiled(energies=energies), whole(energies=energies), atol=1e-6)
        batch = np.stack([probabilities, probabilities[::-1]])
        np.testing.assert_allclose(tiled(batch), whole(batch), atol=1e-6)
        np.testing.assert_array_equal(tiled.labels(batch), whole.labels(batch))

    def test_features_and_volumes(self, rng):
        features = rng.normal(size=(6, 20, 9, 2))
        p = random_probabilities(rng, 3, (6, 20, 9))
        kernels = [Gaussian(features, weight=1), Spatial(weight=1, sxy=(1, 2, 1))]
        tiled = DenseCRF(None, kernels, tile=(6, 8, 9), overlap=20)
        np.testing.assert_allclose(tiled(p), DenseCRF(None, kernels)(p), atol=1e-6)

    def test_same_bits_for_any_threads(self, image, probabilities):
        one, two = (DenseCRF(image, KERNELS, tile=30, threads=n)(probabilities) for n in (1, 3))
        np.testing.assert_array_equal(one, two)


class TestFiles:
    def test_maps_in_and_out(self, image, probabilities, tmp_path):
        crf = DenseCRF(image, KERNELS, tile=40)
        unary = np.memmap(tmp_path / "unary", np.float16, "w+", shape=probabilities.shape)
        unary[...] = probabilities
        q = np.memmap(tmp_path / "q", np.float16, "w+", shape=probabilities.shape)
        labels = np.memmap(tmp_path / "labels", np.uint8, "w+", shape=image.shape[:2])
        assert crf(unary, out=q) is q
        assert crf.labels(unary, out=labels) is labels
        expected = crf(np.array(unary))
        np.testing.assert_array_equal(q, expected.astype(np.float16))
        np.testing.assert_array_equal(labels, expected.argmax(axis=0))

    def test_out_without_tiles(self, image, probabilities):
        crf = DenseCRF(image, KERNELS)
        out = np.zeros((4, 140, 90), np.float64)[:, ::2]
        assert crf(probabilities, out=out) is out
        np.testing.assert_array_equal(out, crf(probabilities))
        labels = np.zeros((70, 180), np.int32)[:, ::2]
        assert crf.labels(probabilities, out=labels) is labels
        np.testing.assert_array_equal(labels, crf.labels(probabilities))

    def test_wrong_outs(self, image, probabilities):
        crf = DenseCRF(image, KERNELS, tile=40)
        readonly = np.zeros((4, 70, 90), np.float32)
        readonly.flags.writeable = False
        for out in (np.zeros((4, 70, 91), np.float32), np.zeros((4, 70, 90), int), [[0.0]], readonly):
            with pytest.raises(InputError, match=r"^out: expected"):
                crf(probabilities, out=out)
        for out in (np.zeros((70, 91), np.uint8), np.zeros((70, 90), np.float32), np.zeros((70, 90), np.int8)):
            with pytest.raises(InputError, match=r"^out: expected"):
                crf.labels(probabilities, out=out)


class TestErrors:
    @pytest.mark.parametrize("bad", [0, -3, 2.5, "40", (40, 40, 40), (40, 0), True])
    def test_tile_and_overlap(self, image, bad):
        with pytest.raises(InputError, match=r"^tile: expected a positive integer"):
            DenseCRF(image, KERNELS, tile=bad)
        with pytest.raises(InputError, match=r"^overlap: expected a positive integer"):
            DenseCRF(image, KERNELS, tile=40, overlap=bad)

    def test_overlap_needs_a_tile(self, image):
        with pytest.raises(InputError, match=r"^overlap: expected None without tile"):
            DenseCRF(image, KERNELS, overlap=4)

    def test_features_need_an_overlap(self):
        with pytest.raises(InputError, match=r"^overlap: expected a number of points"):
            DenseCRF(None, [Gaussian(np.zeros((9, 9, 2)), weight=1)], tile=4)

    def test_no_report_of_tiles(self, image, probabilities):
        with pytest.raises(InputError, match=r"^tile: expected None"):
            DenseCRF(image, KERNELS, tile=40).infer(probabilities)

    def test_unary_of_another_shape(self, image):
        with pytest.raises(InputError, match=r"^probabilities: expected shape"):
            DenseCRF(image, KERNELS, tile=40)(np.ones((4, 70, 91)))

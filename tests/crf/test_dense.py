"""DenseCRF against the mean field in plain NumPy, and on its own."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scenes import BILATERAL_LIMIT, blurred_regions, random_image, random_probabilities

from atrous.crf import PRESETS, Bilateral, DenseCRF, Gaussian, Spatial, exact
from atrous.errors import InputError

EXAMPLES = Path(__file__).parents[2] / "examples"
NORMALIZATIONS = ("none", "before", "after", "symmetric")
KERNELS = (Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=49, srgb=5))


@pytest.fixture
def image(rng):
    return random_image(rng, 12, 17)


# Where to cut 64 x 64 pixels out of an example photograph.
CROPS = {"cat": (100, 150), "astronaut": (58, 185), "photographer": (60, 180)}


def natural_crop(name):
    image = np.asarray(Image.open(EXAMPLES / f"{name}.jpg").convert("RGB"))
    top, left = CROPS[name]
    return np.ascontiguousarray(image[top : top + 64, left : left + 64])


@pytest.mark.parametrize(
    ("kernels", "options", "parts"),
    [
        (KERNELS, {"iterations": 5}, ["(12, 17)", "Spatial(weight=3, sxy=3)", "sxy=49, srgb=5", "iterations=5"]),
        ([Spatial(weight=1, sxy=(2, 3), compatibility=[1, 2])], {}, ["sxy=(2, 3)", "compatibility of shape (2,)"]),
        ([Gaussian(np.zeros((12, 17, 4)), 2)], {}, ["values of shape (12, 17, 4)", "weight=2"]),
        (KERNELS, {"tile": 8, "overlap": 2}, ["in tiles"]),
    ],
)
def test_a_line_about_it(image, kernels, options, parts):
    line = repr(DenseCRF(image, kernels, **options))
    assert line.startswith("<DenseCRF ")
    assert "\n" not in line
    assert [part for part in parts if part not in line] == []


def test_a_line_about_a_reduced_one(rng):
    assert "on means of 2 x 2" in repr(DenseCRF(random_image(rng, 40, 50), KERNELS, max_vertices=5000))


class TestAgainstExact:
    @pytest.mark.parametrize("normalization", NORMALIZATIONS)
    def test_normalizations(self, rng, image, normalization):
        kernels = [Spatial(weight=0.3, sxy=(3, 2)), Bilateral(weight=0.4, sxy=10, srgb=(20, 30, 40))]
        p = random_probabilities(rng, 5, (12, 17))
        truth = exact(image, kernels, p, normalization=normalization)
        q = DenseCRF(image, kernels, normalization=normalization, filtering="exact", prune=0)(p)
        np.testing.assert_allclose(q, truth, atol=1e-5)

    @pytest.mark.parametrize("normalization", NORMALIZATIONS)
    def test_a_kernel_may_have_its_own_normalization(self, rng, image, normalization):
        kernels = [
            Spatial(weight=0.3, sxy=3, normalization=normalization),
            Bilateral(weight=2, sxy=10, srgb=20),
        ]
        p = random_probabilities(rng, 3, (12, 17))
        q = DenseCRF(image, kernels, filtering="exact", prune=0)(p)
        np.testing.assert_allclose(q, exact(image, kernels, p), atol=1e-5)

    @pytest.mark.parametrize("labels", [2, 3, 21])
    def test_compatibilities(self, rng, image, labels):
        vector = rng.random(labels)
        matrix = rng.normal(size=(labels, labels))  # not symmetric: from and to must not be confused
        kernels = [
            Spatial(weight=0.7, sxy=3),
            Spatial(weight=2, sxy=1, compatibility=vector),
            Bilateral(weight=0.4, sxy=10, srgb=20, compatibility=1 - np.eye(labels)),
        ]
        p = random_probabilities(rng, labels, (12, 17))
        q = DenseCRF(image, kernels, compatibility=matrix, filtering="exact")(p)
        np.testing.assert_allclose(q, exact(image, kernels, p, compatibility=matrix), atol=1e-5)

    @given(
        shape=st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple),
        features=st.integers(1, 4),
        labels=st.sampled_from([2, 5, 9, 33, 150]),
        iterations=st.integers(0, 6),
        normalization=st.sampled_from(NORMALIZATIONS),
        dtype=st.sampled_from([np.float16, np.float32, np.float64]),
        seed=st.integers(0, 2**32 - 1),
    )
    @settings(max_examples=40, deadline=None)
    def test_any_shape(self, shape, features, labels, iterations, normalization, dtype, seed):
        rng = np.random.default_rng(seed)
        kernels = [Gaussian(rng.normal(size=(*shape, features)).astype(dtype), weight=0.2)]
        p = random_probabilities(rng, labels, shape).astype(dtype)
        options = {"iterations": iterations, "normalization": normalization}
        q = DenseCRF(None, kernels, filtering="exact", prune=0, **options)(p)
        assert q.dtype == np.float32
        np.testing.assert_allclose(q, exact(None, kernels, p, **options), atol=1e-5)
        np.testing.assert_allclose(q.sum(axis=0), 1, atol=1e-5)

    @pytest.mark.parametrize("crop", CROPS)
    def test_natural_crops(self, rng, crop):
        crop = natural_crop(crop)
        p = blurred_regions(crop, rng)
        truth = exact(crop, KERNELS, p)
        np.testing.assert_allclose(DenseCRF(crop, KERNELS, filtering="exact", prune=0)(p), truth, atol=1e-5)
        labels = DenseCRF(crop, KERNELS).labels(p)
        assert np.mean(labels != p.argmax(axis=0)) > 5 * BILATERAL_LIMIT, "the CRF changes too little to tell"
        assert np.mean(labels != truth.argmax(axis=0)) < BILATERAL_LIMIT

    def test_energies(self, rng, image):
        energies = rng.normal(size=(4, 12, 17)) * 5
        truth = exact(image, KERNELS, energies=energies)
        q = DenseCRF(image, KERNELS, filtering="exact", prune=0)(energies=energies)
        np.testing.assert_allclose(q, truth, atol=1e-5)

    def test_energies_are_negative_logarithms(self, rng, image):
        p = random_probabilities(rng, 4, (12, 17))
        crf = DenseCRF(image, KERNELS)
        np.testing.assert_allclose(crf(p), crf(energies=-np.log(p)), atol=1e-5)


class TestByEye:
    def test_a_lonely_pixel_gives_in_to_its_neighbors(self):
        p = np.full((2, 3, 3), 0.1)
        p[0] = 0.9
        p[:, 1, 1] = 0.4, 0.6
        crf = DenseCRF(np.zeros((3, 3, 3), np.uint8), [Spatial(weight=3, sxy=1)])
        assert crf.labels(p).tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 0]]

    def test_labels_stop_at_an_edge_of_the_image(self):
        image = np.zeros((1, 6, 3), np.uint8)
        image[:, 3:] = 255
        p = np.full((2, 1, 6), 0.5)
        p[:, 0, 0] = 0.9, 0.1
        p[:, 0, 5] = 0.1, 0.9
        for filtering in ("lattice", "exact"):
            crf = DenseCRF(image, [Bilateral(weight=5, sxy=50, srgb=5)], filtering=filtering)
            assert crf.labels(p).tolist() == [[0, 0, 0, 1, 1, 1]]

    def test_no_kernel_or_no_step_gives_the_softmax(self, rng, image):
        p = random_probabilities(rng, 3, (12, 17))
        np.testing.assert_allclose(DenseCRF(image, [])(p), p, atol=1e-6)
        np.testing.assert_allclose(DenseCRF(image, KERNELS, iterations=0)(p), p, atol=1e-6)

    def test_zero_probabilities_stay_finite(self, image):
        p = np.zeros((3, 12, 17))
        p[0] = 1
        q = DenseCRF(image, KERNELS)(p)
        assert np.isfinite(q).all()
        np.testing.assert_allclose(q, p, atol=1e-6)

    def test_huge_energies_stay_finite(self, image):
        energies = np.full((3, 12, 17), 1e30)
        energies[1] = -1e30
        q = DenseCRF(image, KERNELS)(energies=energies)
        np.testing.assert_array_equal(q[1], 1)

    def test_repulsive_weights(self, rng, image):
        q = DenseCRF(image, [Spatial(weight=-2, sxy=2)], filtering="exact")(random_probabilities(rng, 3, (12, 17)))
        assert np.isfinite(q).all()

    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)])
    def test_thin_images(self, rng, shape):
        image = random_image(rng, *shape)
        p = random_probabilities(rng, 3, shape)
        q = DenseCRF(image, KERNELS)(p)
        assert q.shape == (3, *shape)
        np.testing.assert_allclose(q.sum(axis=0), 1, atol=1e-5)

    @pytest.mark.parametrize("shape", [(1, 12, 17), (12, 17, 1), (3, 1, 12, 17)])
    def test_one_label_leaves_no_choice(self, image, shape):
        crf = DenseCRF(image, KERNELS)
        with pytest.raises(InputError, match=r"^probabilities: .*concatenate\(\[1 - p, p\]"):
            crf(np.full(shape, 0.3))
        with pytest.raises(InputError, match="^energies: expected at least two labels"):
            crf.labels(energies=np.full(shape, 0.3))

    def test_constant_is_preserved_by_after(self, image):
        p = np.broadcast_to(np.array([0.5, 0.3, 0.2])[:, None, None], (3, 12, 17))
        q = DenseCRF(image, KERNELS)(p)
        np.testing.assert_allclose(q, q[:, :1, :1] * np.ones_like(q), rtol=1e-4)

    def test_labels_of_many_classes(self, rng, image):
        p = random_probabilities(rng, 300, (12, 17))
        crf = DenseCRF(image, KERNELS)
        labels = crf.labels(p)
        assert labels.dtype == np.uint16
        np.testing.assert_array_equal(labels, crf(p).argmax(axis=0))

    def test_presets(self, rng, image):
        p = random_probabilities(rng, 21, (12, 17))
        for name, kernels in PRESETS.items():
            np.testing.assert_array_equal(DenseCRF(image, name)(p), DenseCRF(image, kernels)(p))


class TestInputs:
    def test_a_flipped_image(self, rng, image):
        p = random_probabilities(rng, 4, (12, 17))
        crf = DenseCRF(image, KERNELS)
        q = crf(p)
        flipped = np.ascontiguousarray(image[::-1])[::-1]
        np.testing.assert_array_equal(DenseCRF(flipped, KERNELS)(p), q)

    def test_inputs_are_left_alone(self, rng, image):
        p = random_probabilities(rng, 4, (12, 17))
        image_before, p_before = image.copy(), p.copy()
        DenseCRF(image, KERNELS)(p)
        np.testing.assert_array_equal(image, image_before)
        np.testing.assert_array_equal(p, p_before)

    def test_an_object_serves_many_probability_maps(self, rng, image):
        crf = DenseCRF(image, KERNELS)
        maps = [random_probabilities(rng, labels, (12, 17)) for labels in (21, 2, 5)]
        first = [crf(p) for p in maps]
        for p, q in zip(reversed(maps), reversed(first), strict=True):
            np.testing.assert_array_equal(crf(p), q)


class TestThreads:
    def test_same_bits(self, rng):
        image = random_image(rng, 170, 200)  # more than two bands of the lattice
        p = random_probabilities(rng, 6, (170, 200))
        kernels = [*KERNELS, Bilateral(weight=1, sxy=20, srgb=20, normalization="symmetric")]
        q = [DenseCRF(image, kernels, threads=threads, iterations=3)(p) for threads in (1, 2, 3, 7)]
        for other in q[1:]:
            np.testing.assert_array_equal(other, q[0])

    def test_one_object_in_several_threads(self, rng):
        image = random_image(rng, 60, 60)
        crf = DenseCRF(image, KERNELS, threads=2)
        maps = [random_probabilities(rng, 5, (60, 60)) for _ in range(4)]
        alone = [crf(p) for p in maps]
        together = [None] * 4

        def run(i):
            together[i] = crf(maps[i])

        threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a, b)

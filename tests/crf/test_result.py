"""What an inference tells: energy, divergence, steps, and which labels were pruned."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import random_image, random_probabilities

from atrous.crf import Bilateral, DenseCRF, Gaussian, Spatial, exact_inference
from atrous.errors import InputError

NORMALIZATIONS = ("none", "before", "after", "symmetric")
KERNELS = (Spatial(weight=0.3, sxy=(3, 2)), Bilateral(weight=0.4, sxy=10, srgb=(20, 30, 40)))


@pytest.fixture
def image(rng):
    return random_image(rng, 12, 17)


class TestTrace:
    def test_by_hand(self):
        # Two points at one place and two labels, weight 1: Q0 is uniform, and each of the four ordered pairs
        # counts a half and disagrees with probability 1/2.
        p = np.full((2, 2), 0.5)
        crf = DenseCRF(
            None, [Gaussian([[0.0], [0.0]], weight=1)], normalization="none", filtering="exact", iterations=0
        )
        inference = crf.infer(p, trace=True)
        np.testing.assert_allclose(inference.energy, [2 * np.log(2) + 1])
        np.testing.assert_allclose(inference.divergence, [1])  # the entropy is 2 log 2

    @pytest.mark.parametrize("normalization", NORMALIZATIONS)
    def test_potts(self, rng, image, normalization):
        p = random_probabilities(rng, 5, (12, 17))
        truth = exact_inference(image, KERNELS, p, normalization=normalization)
        crf = DenseCRF(image, KERNELS, normalization=normalization, filtering="exact", prune=0)
        found = crf.infer(p, trace=True)
        assert found.energy.shape == found.divergence.shape == (11,)
        np.testing.assert_allclose(found.energy, truth.energy, rtol=1e-5)
        np.testing.assert_allclose(found.divergence, truth.divergence, rtol=1e-5, atol=1e-3)

    def test_compatibilities_and_energies(self, rng, image):
        kernels = [
            KERNELS[0],
            Spatial(weight=2, sxy=1, compatibility=rng.random(4)),
            Bilateral(weight=0.4, sxy=10, srgb=20, compatibility=rng.normal(size=(4, 4))),
        ]
        energies = rng.normal(size=(4, 12, 17)) * 3
        truth = exact_inference(image, kernels, energies=energies)
        found = DenseCRF(image, kernels, filtering="exact").infer(energies=energies, trace=True)
        np.testing.assert_allclose(found.energy, truth.energy, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(found.divergence, truth.divergence, rtol=1e-5, atol=1e-3)

    def test_on_the_lattice_it_is_near(self, rng):
        image = random_image(rng, 24, 30)
        p = random_probabilities(rng, 5, (24, 30))
        kernels = [Spatial(weight=3, sxy=3), Bilateral(weight=4, sxy=20, srgb=20)]
        truth = exact_inference(image, kernels, p)
        found = DenseCRF(image, kernels).infer(p, trace=True)
        np.testing.assert_allclose(found.energy, truth.energy, rtol=0.05)

    @given(
        normalization=st.sampled_from(["none", "symmetric"]),
        weight=st.floats(0, 5),
        labels=st.integers(2, 6),
        seed=st.integers(0, 2**32 - 1),
    )
    @settings(max_examples=25, deadline=None)
    def test_no_step_makes_the_divergence_larger(self, normalization, weight, labels, seed):
        rng = np.random.default_rng(seed)
        kernels = [Gaussian(rng.normal(size=(30, 2)), weight=weight, compatibility=rng.random(labels))]
        crf = DenseCRF(None, kernels, normalization=normalization, filtering="exact", prune=0)
        divergence = crf.infer(energies=rng.normal(size=(labels, 30)) * 3, trace=True).divergence
        assert (np.diff(divergence) <= 1e-4 * (1 + np.abs(divergence[1:]))).all()

    def test_a_trace_changes_nothing_else(self, rng, image):
        p = random_probabilities(rng, 5, (12, 17))
        crf = DenseCRF(image, KERNELS)
        plain, traced = crf.infer(p), crf.infer(p, trace=True)
        assert plain.energy is None
        assert plain.divergence is None
        np.testing.assert_array_equal(plain.probabilities, traced.probabilities)
        np.testing.assert_array_equal(plain.probabilities, crf(p))
        np.testing.assert_array_equal(plain.labels, crf.labels(p))
        np.testing.assert_array_equal(crf.infer(p, trace=True).energy, traced.energy)


class TestInPlace:
    @pytest.mark.parametrize("labels", [2, 5, 12])
    @pytest.mark.parametrize("options", [{}, {"prune": 0}, {"tolerance": 0.01}, {"normalization": "symmetric"}])
    def test_the_same_bits(self, rng, labels, options):
        image = random_image(rng, 90, 150)
        p = random_probabilities(rng, labels, (90, 150)) ** 4
        p /= p.sum(axis=0)
        crf = DenseCRF(image, KERNELS, **options)
        expected = crf.infer(p)
        for threads in (1, 3):
            crf.threads = threads
            place = p.copy()
            found = crf.infer(place, out=place)
            assert found.probabilities is place
            np.testing.assert_array_equal(place, expected.probabilities)
            np.testing.assert_array_equal(found.labels, expected.labels)
            assert found.active_labels.tolist() == expected.active_labels.tolist()

    def test_other_places(self, rng, image):
        p = random_probabilities(rng, 5, (12, 17))
        crf = DenseCRF(image, KERNELS)
        expected = crf.infer(p).probabilities
        for out in (np.empty_like(p), np.empty((5, 12, 34), np.float32)[..., ::2], np.empty(p.shape)):
            assert crf.infer(p, out=out).probabilities is out
            np.testing.assert_array_equal(out, expected)
        last = np.moveaxis(p, 0, -1).copy()
        crf.infer(last, channels="last", out=last)
        np.testing.assert_array_equal(np.moveaxis(last, -1, 0), expected)

    def test_a_file_keeps_what_is_written(self, rng, image, tmp_path):
        p = random_probabilities(rng, 5, (90, 150))
        file = np.memmap(tmp_path / "p", np.float32, "w+", shape=p.shape)
        file[:] = p
        crf = DenseCRF(random_image(rng, 90, 150), KERNELS)
        crf.infer(file, out=file)
        file.flush()
        np.testing.assert_array_equal(np.fromfile(tmp_path / "p", np.float32).reshape(p.shape), crf(p))

    @pytest.mark.parametrize("out", [np.empty((5, 12, 16), np.float32), np.empty((5, 12, 17), np.int32), "q"])
    def test_no_place(self, rng, image, out):
        with pytest.raises(InputError, match="out"):
            DenseCRF(image, KERNELS).infer(random_probabilities(rng, 5, (12, 17)), out=out)


class TestTolerance:
    def test_it_stops_after_the_first_step_that_changes_little(self, rng, image):
        p = random_probabilities(rng, 5, (12, 17))
        crf = DenseCRF(image, KERNELS, tolerance=0.01, iterations=100, prune=0)
        found = crf.infer(p, trace=True)
        assert 1 < found.steps < 100
        assert len(found.energy) == found.steps + 1
        q = [DenseCRF(image, KERNELS, iterations=found.steps - back, prune=0)(p) for back in (0, 1, 2)]
        np.testing.assert_array_equal(found.probabilities, q[0])
        assert np.abs(q[0] - q[1]).max() <= 0.01 < np.abs(q[1] - q[2]).max()
        assert exact_inference(image, KERNELS, p, tolerance=0.01, iterations=100).steps == found.steps

    def test_no_tolerance_no_early_end(self, rng, image):
        p = random_probabilities(rng, 5, (12, 17))
        assert DenseCRF(image, KERNELS, iterations=60).infer(p).steps == 60
        assert DenseCRF(image, KERNELS, iterations=0, tolerance=1).infer(p).steps == 0
        assert DenseCRF(image, KERNELS, tolerance=1).infer(p).steps == 1


class TestPruning:
    # Label 2 is nowhere a twentieth as likely as the likeliest, which in the right half is label 1.
    P = np.empty((3, 12, 16), np.float32)
    P[:, :, :8] = np.array([0.9, 0.08, 0.02])[:, None, None]
    P[:, :, 8:] = np.array([0.3, 0.67, 0.03])[:, None, None]
    IMAGE = np.zeros((12, 16, 3), np.uint8)

    def many(self, labels=12):
        """The same with further labels that are hardly probable, so that rows get narrower without them."""
        rest = np.full((labels - 3, 12, 16), 1e-3, np.float32)
        return np.concatenate([self.P * (1 - rest.sum(axis=0)), rest])

    def test_improbable_labels_leave(self):
        crf = DenseCRF(self.IMAGE, [Spatial(weight=1, sxy=1)])
        found = crf.infer(self.many())
        assert found.active_labels.tolist() == [0, 1]
        assert (found.probabilities[2:] == 0).all()
        np.testing.assert_allclose(found.probabilities.sum(axis=0), 1, rtol=1e-5)
        every = DenseCRF(self.IMAGE, [Spatial(weight=1, sxy=1)], prune=0).infer(self.many())
        assert every.active_labels.tolist() == list(range(12))
        np.testing.assert_array_equal(found.labels, every.labels)
        # With few labels their share is spread over the others, no more.
        np.testing.assert_allclose(found.probabilities[:2], every.probabilities[:2], atol=0.05)

    def test_a_label_that_wins_anywhere_stays(self):
        p = np.full((40, 12, 16), 1 / 40, np.float32)
        p[7, 3, 4] += 0.001
        found = DenseCRF(self.IMAGE, [Spatial(weight=1, sxy=1)], iterations=0, prune=1).infer(p / p.sum(axis=0))
        assert 7 in found.active_labels

    @pytest.mark.parametrize(
        ("kernels", "compatibility"),
        [
            ([Spatial(weight=-1, sxy=1)], None),
            ([Spatial(weight=1, sxy=1), Spatial(weight=1, sxy=2, compatibility=[1, 1, -0.1])], None),
            ([Spatial(weight=1, sxy=1, compatibility=1 - np.eye(3))], None),
            ([Spatial(weight=1, sxy=1)], [[0, 0, -9], [0, 0, 0], [0, 0, 0]]),
        ],
    )
    def test_where_a_label_may_rise_none_is_pruned(self, kernels, compatibility):
        crf = DenseCRF(self.IMAGE, kernels, compatibility=compatibility)
        assert crf.prune == 0
        assert crf.infer(self.P).active_labels.tolist() == [0, 1, 2]
        assert DenseCRF(self.IMAGE, kernels, compatibility=compatibility, prune=0).prune == 0
        with pytest.raises(InputError, match="^prune: expected 0 .*, got 0.05; pass prune=0"):
            DenseCRF(self.IMAGE, kernels, compatibility=compatibility, prune=0.05)

    @pytest.mark.parametrize("prune", [None, 0.05])
    def test_without_kernels_there_is_nothing_to_gain(self, rng, prune):
        p = random_probabilities(rng, 40, (5, 1))
        found = DenseCRF(np.zeros((5, 1, 3), np.uint8), [], prune=prune).infer(p)
        assert found.active_labels.tolist() == list(range(40))
        np.testing.assert_allclose(found.probabilities, p, atol=1e-6)

    def test_two_negatives_attract(self):
        crf = DenseCRF(self.IMAGE, [Spatial(weight=-1, sxy=1, compatibility=[-1, -1, -1])])
        assert crf.prune == 0.05

    def test_a_label_that_gains_more_than_others_is_not_pruned(self):
        p = np.empty((3, 12, 16), np.float32)
        p[:] = np.array([0.58, 0.4, 0.02])[:, None, None]
        crf = DenseCRF(self.IMAGE, [Spatial(weight=1, sxy=1)], compatibility=[1, 1, 200])
        assert crf.prune == 0
        assert (crf.labels(p) == 2).all()

    @pytest.mark.parametrize("name", ["probabilities", "energies"])
    def test_many_labels_with_little_each(self, rng, name):
        # Label 0 has 0.049 everywhere and wins by that, though others have 0.06 here and there.
        p = np.full((40, 60, 80), (1 - 0.049 - 0.06) / 38, np.float32)
        np.put_along_axis(p, rng.integers(1, 40, (1, 60, 80)), np.float32(0.06), axis=0)
        p[0] = 0.049
        image = rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)
        kernels = [Spatial(weight=3, sxy=3), Bilateral(weight=10, sxy=20, srgb=60)]
        given = {name: p if name == "probabilities" else -np.log(p)}
        labels = DenseCRF(image, kernels).labels(**given)
        np.testing.assert_array_equal(labels, DenseCRF(image, kernels, prune=0).labels(**given))
        assert (labels == 0).all()

    def test_a_label_that_would_have_risen(self):
        # Why there: beside labels 0 and 1, label 2 is worth more than either.
        compatibility = np.array([[0, 0, 0], [0, 0, 0], [-100, -100, 0]])
        crf = DenseCRF(self.IMAGE, [Spatial(weight=1, sxy=1)], compatibility=compatibility, iterations=1)
        assert (crf.labels(self.P) == 2).all()

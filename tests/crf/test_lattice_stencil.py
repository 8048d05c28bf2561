"""The lattice with weights between near vertices, against the exact mean field."""

import numpy as np
import pytest
from scenes import blurred_regions, random_probabilities
from test_dense import CROPS, KERNELS, NORMALIZATIONS, natural_crop

from atrous import _native
from atrous.crf import Bilateral, DenseCRF, Gaussian, exact
from atrous.crf._lattice_stencil import fine_lattice, stencil
from atrous.errors import InputError

# Half of pydensecrf's mean |dQ| on the same scenes.
HALF_OF_PEER = {"cat": 1.49e-3, "astronaut": 1.13e-3, "photographer": 0.66e-3}


def applied(kernel_filter, values):
    out = np.empty_like(values)
    kernel_filter.apply(values, out, 2)
    return out


class TestStencil:
    def test_in_the_plane_by_eye(self):
        offsets, weights = stencil(2)
        found = {tuple(map(int, offset)): weight for offset, weight in zip(offsets, weights, strict=True)}
        # Itself, three of the six neighbors, three of the six beyond and three two steps away.
        assert sorted(found) == [
            *[(0, 0, 0), (0, 3, -3), (1, -2, 1), (1, 1, -2), (2, -4, 2), (2, -1, -1), (2, 2, -4)],
            *[(3, -3, 0), (3, 0, -3), (4, -2, -2)],
        ]
        assert found[1, 1, -2] == found[2, -1, -1] == pytest.approx(found[0, 0, 0] * np.exp(-0.5 / 0.85))

    @pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5])
    def test_vectors_of_the_lattice_one_of_each_pair(self, dimensions):
        offsets, _ = stencil(dimensions)
        assert (offsets.sum(axis=1) == 0).all()
        assert ((offsets - offsets[:, :1]) % (dimensions + 1) == 0).all()
        both = {tuple(o) for o in offsets} | {tuple(-o) for o in offsets}
        assert len(both) == 2 * len(offsets) - 1


class TestFilter:
    @pytest.mark.parametrize("dimensions", [1, 2, 3, 4, 5])
    def test_nearer_to_the_matrix_than_blurs_and_of_its_mass(self, dimensions):
        rng = np.random.default_rng(3)
        plane = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0][:, : min(dimensions, 3)]
        points = plane @ rng.uniform(-2, 2, (plane.shape[1], 2000)) + rng.normal(size=(dimensions, 2000)) * 0.3
        features = points.astype(np.float32)
        values = np.concatenate([np.ones((1, 2000)), rng.random((3, 2000)) > 0.5]).astype(np.float32)
        truth = applied(_native.brute_force(features), values)
        fine = applied(fine_lattice(features, 2000, 2), values)
        assert np.mean(fine[0] / truth[0]) == pytest.approx(1, abs=0.1)
        blurred = applied(_native.lattice(features, 2), values)
        error, of_blurs = (np.abs(q[1:] / q[0] - truth[1:] / truth[0]).mean() for q in (fine, blurred))
        assert error < (of_blurs if dimensions > 1 else 1.5 * of_blurs)

    def test_k_of_two_points_does_not_depend_on_the_others(self):
        # What lies between them would carry a blur.
        few = np.array([[0, 1.5], [0, 1.2], [0, 0], [0, 0], [0, 0]], np.float32)
        many = np.concatenate([few, np.random.default_rng(1).normal(size=(5, 300)).astype(np.float32)], axis=1)
        one = np.zeros((1, 302), np.float32)
        one[0, 0] = 1
        alone = applied(fine_lattice(few, 2, 1), np.ascontiguousarray(one[:, :2]))
        np.testing.assert_allclose(applied(fine_lattice(many, 302, 1), one)[0, :2], alone[0], rtol=1e-5)

    def test_wrong_offsets_raise_and_do_not_crash(self):
        features, weights = np.zeros((2, 4), np.float32), np.ones(1, np.float32)
        for offset in ([[1, 1, -1]], [[1, 0, -1]], [[1, -1]], [[3000, 0, -3000]]):
            with pytest.raises(ValueError, match="offset"):
                _native.lattice(features, 1, 0, np.array(offset, np.int32), weights)
        with pytest.raises(ValueError, match="together"):
            _native.lattice(features, 1, 0, np.zeros((1, 3), np.int32), None)


class TestFine:
    @pytest.mark.parametrize("crop", CROPS)
    @pytest.mark.parametrize("seed", [7, 107])
    def test_half_of_the_peers_error(self, crop, seed):
        image = natural_crop(crop)
        p = blurred_regions(image, np.random.default_rng(seed))
        truth = exact(image, KERNELS, p)
        q = DenseCRF(image, KERNELS, filtering="fine")(p)
        error = np.abs(q - truth).mean()
        assert error < HALF_OF_PEER[crop]
        assert error < 0.6 * np.abs(DenseCRF(image, KERNELS)(p) - truth).mean()
        assert np.mean(q.argmax(axis=0) != truth.argmax(axis=0)) < 0.006

    @pytest.mark.parametrize("normalization", NORMALIZATIONS)
    def test_normalizations(self, normalization):
        image = natural_crop("photographer")[:40, :40]
        p = blurred_regions(image, np.random.default_rng(1), labels=3)
        options = {"normalization": normalization}
        kernels = [Bilateral(weight=0.02 if normalization == "none" else 4, sxy=20, srgb=8)]
        truth = exact(image, kernels, p, **options)
        error = np.abs(DenseCRF(image, kernels, filtering="fine", **options)(p) - truth).mean()
        assert error < 3e-3
        assert error < np.abs(DenseCRF(image, kernels, **options)(p) - truth).mean()

    def test_same_bits_for_any_threads(self):
        image = np.random.default_rng(5).integers(0, 256, (90, 110, 3), np.uint8)
        p = random_probabilities(np.random.default_rng(6), 4, (90, 110))
        one, *others = (DenseCRF(image, KERNELS, filtering="fine", threads=n)(p) for n in (1, 2, 5))
        for other in others:
            np.testing.assert_array_equal(other, one)

    def test_many_features_are_refused(self):
        features = np.zeros((4, 6))
        with pytest.raises(InputError, match=r"filtering: expected at most 5 features .* got 6; use 'lattice'"):
            DenseCRF(None, [Gaussian(features, weight=1)], filtering="fine")

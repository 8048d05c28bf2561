"""The native filters against matrices written out in NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atrous import _native


def applied(kernel_filter, values, threads=2):
    values = np.ascontiguousarray(values, np.float32)
    out = np.empty_like(values)
    kernel_filter.apply(values, out, threads)
    return out


def kernel_matrix(features):
    features = np.asarray(features, np.float64)
    return np.exp(-0.5 * ((features[:, :, None] - features[:, None]) ** 2).sum(0))


@st.composite
def point_clouds(draw, max_dimensions=16):
    dimensions = draw(st.integers(1, max_dimensions))
    points = draw(st.integers(1, 300))
    spread = draw(st.sampled_from([0.01, 1.0, 30.0]))
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))).normal(size=(dimensions, points)).astype(
        np.float32
    ) * np.float32(spread)


labels = st.sampled_from([1, 2, 4, 5, 8, 13, 21, 24, 32, 33, 45, 150])


class TestGridGaussian:
    def test_one_pixel_spreads_as_a_gaussian(self):
        image = np.zeros((1, 15), np.float32)
        image[0, 7] = 1  # the middle of 3 x 5
        out = applied(_native.grid_gaussian((3, 5), (1.0, 2.0)), image).reshape(3, 5)
        y, x = np.mgrid[-1:2, -2:3]
        np.testing.assert_allclose(out, np.exp(-(y**2) / 2 - x**2 / 8), rtol=1e-6)

    @given(
        shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
        sigma=st.sampled_from([0.05, 0.7, 3.0, 40.0]),
        count=labels,
        seed=st.integers(0, 1000),
    )
    @settings(max_examples=40, deadline=None)
    def test_equals_the_matrix(self, shape, sigma, count, seed):
        sigmas = [sigma * (1 + axis / 2) for axis in range(len(shape))]
        grid = np.stack(np.meshgrid(*[np.arange(n) / s for n, s in zip(shape, sigmas, strict=True)], indexing="ij"))
        matrix = kernel_matrix(grid.reshape(len(shape), -1))
        values = np.random.default_rng(seed).normal(size=(count, matrix.shape[0]))
        out = applied(_native.grid_gaussian(shape, sigmas), values)
        np.testing.assert_allclose(out, values @ matrix, atol=2e-6 * matrix.sum(1).max())

    def test_reaches_as_far_as_float32_can_tell(self):
        image = np.zeros((1, 101), np.float32)
        image[0, 50] = 1
        out = applied(_native.grid_gaussian((101,), (3.0,)), image)[0]
        exact = np.exp(-((np.arange(101) - 50.0) ** 2) / 18)
        assert np.abs(out - exact).max() < 2**-24


class TestBruteForce:
    @given(features=point_clouds(), count=labels)
    @settings(max_examples=30, deadline=None)
    def test_equals_the_matrix(self, features, count):
        matrix = kernel_matrix(features)
        values = np.random.default_rng(0).normal(size=(count, features.shape[1]))
        out = applied(_native.brute_force(features), values)
        np.testing.assert_allclose(out, values @ matrix, atol=3e-6 * matrix.sum(1).max())


class TestLattice:
    @given(features=point_clouds(), count=labels)
    @settings(max_examples=40, deadline=None)
    def test_linear_positive_and_finite(self, features, count):
        rng = np.random.default_rng(1)
        a, b = rng.random(size=(2, count, features.shape[1])).astype(np.float32)
        lattice = _native.lattice(features, 2)
        out = applied(lattice, a)
        assert np.isfinite(out).all()
        assert (out > 0).all()
        np.testing.assert_allclose(applied(lattice, a + 2 * b), out + 2 * applied(lattice, b), rtol=1e-4)

    @given(features=point_clouds(max_dimensions=3), seed=st.integers(0, 100))
    @settings(max_examples=20, deadline=None)
    def test_each_label_is_filtered_alone(self, features, seed):
        values = np.random.default_rng(seed).random(size=(21, features.shape[1])).astype(np.float32)
        lattice = _native.lattice(features, 1)
        alone = applied(lattice, values[17:18])
        np.testing.assert_allclose(applied(lattice, values)[17], alone[0], rtol=1e-5)

    @pytest.mark.parametrize("dimensions", [1, 2, 3])
    def test_approximates_the_matrix_where_points_are_dense(self, dimensions):
        per_axis = {1: 400, 2: 40, 3: 16}[dimensions]
        axis = np.linspace(0, 6 if dimensions > 1 else 20, per_axis)
        features = np.stack(np.meshgrid(*[axis] * dimensions)).reshape(dimensions, -1).astype(np.float32)
        matrix = kernel_matrix(features)
        values = np.random.default_rng(3).random(size=(3, features.shape[1]))
        out = applied(_native.lattice(features, 2), values)
        inside = np.all((features > 2) & (features < axis[-1] - 2), axis=0)
        np.testing.assert_allclose(out[:, inside], (values @ matrix)[:, inside], rtol=0.1)

    @pytest.mark.parametrize("dimensions", [1, 2, 5, 9, 16])
    def test_far_points_do_not_see_each_other(self, dimensions):
        features = np.zeros((dimensions, 3), np.float32)
        features[0, 2] = 1000
        values = np.array([[1, 3, 5]], np.float32)
        lattice = _native.lattice(features, 2)
        average = applied(lattice, values) / applied(lattice, np.ones_like(values))
        np.testing.assert_allclose(average, [[2, 2, 5]], rtol=1e-5)

    def test_equal_points_share_their_vertices(self):
        features = np.full((5, 1000), 0.3, np.float32)
        assert _native.lattice(features, 2).vertices == 6

    def test_symmetric_where_no_vertex_is_missing(self):
        axis = np.arange(30) / 2
        features = np.stack(np.meshgrid(axis, axis)).reshape(2, -1).astype(np.float32)
        rng = np.random.default_rng(5)
        inside = np.all((features > 4) & (features < 10), axis=0)
        a, b = rng.random(size=(2, 1, features.shape[1])).astype(np.float32) * inside
        lattice = _native.lattice(features, 2)
        np.testing.assert_allclose((a * applied(lattice, b)).sum(), (b * applied(lattice, a)).sum(), rtol=1e-4)

    @pytest.mark.parametrize(
        "features",
        [
            np.full((1, 2), 1e6),
            np.full((2, 2), 3e38),
            [[0.0, np.inf]],
        ],
        ids=["magnitude", "overflow", "infinite"],
    )
    def test_refuses_what_its_keys_cannot_hold(self, features):
        with pytest.raises(OverflowError, match="features"):
            _native.lattice(np.asarray(features, np.float32), 2)

    @given(arrays(np.float32, (3, 50), elements=st.floats(-4000, 4000, width=32)))
    @settings(max_examples=30, deadline=None)
    def test_any_points(self, features):
        lattice = _native.lattice(features, 2)
        mass = applied(lattice, np.ones((1, 50)))
        assert np.isfinite(mass).all()
        assert (mass > 0.05).all()


def test_instruction_sets_agree():
    features = np.random.default_rng(2).normal(size=(5, 500)).astype(np.float32)
    values = np.random.default_rng(3).random(size=(21, 500)).astype(np.float32)
    best = _native.instruction_set()
    results = []
    try:
        for name in ("baseline", "v3", "v4"):
            if _native.choose_instruction_set(name):
                results.append(applied(_native.lattice(features, 2), values))
                results[-1] /= applied(_native.lattice(features, 2), np.ones((1, 500)))
    finally:
        assert _native.choose_instruction_set(best)
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1e-6)


def test_wrong_arrays_raise_and_do_not_crash():
    lattice = _native.lattice(np.zeros((2, 4), np.float32), 1)
    with pytest.raises(ValueError, match="values"):
        lattice.apply(np.zeros((1, 5), np.float32), np.zeros((1, 5), np.float32), 1)
    with pytest.raises(ValueError, match="out"):
        lattice.apply(np.zeros((1, 4), np.float32), np.zeros((2, 4), np.float32), 1)
    with pytest.raises(TypeError):
        lattice.apply(np.zeros((1, 4)), np.zeros((1, 4), np.float32), 1)
    with pytest.raises(ValueError, match="dimensions"):
        _native.lattice(np.zeros((17, 4), np.float32), 1)
    with pytest.raises(ValueError, match="empty"):
        _native.brute_force(np.zeros((0, 4), np.float32))

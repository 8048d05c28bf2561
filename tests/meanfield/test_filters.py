import numpy as np
import pytest

torch = pytest.importorskip("torch")

from atrous import _native
from atrous.errors import InputError
from atrous.meanfield import gaussian_filter
from atrous.meanfield.filters import Exact
from atrous.meanfield.lattice import Lattice


def points(batch=2, count=50, dimensions=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return 1.5 * torch.randn(batch, count, dimensions, generator=generator, dtype=dtype)


def gaussian(features):
    return torch.exp(-0.5 * torch.cdist(features, features) ** 2)


def test_attention_is_the_gaussian():
    features, values = points(), torch.randn(2, 50, 3, dtype=torch.float64)
    torch.testing.assert_close(Exact(features).apply(values), gaussian(features) @ values, atol=1e-12, rtol=1e-10)
    # Far from the origin the squares are large.
    features = (points(dtype=torch.float32) + 40) * 3
    values = values.float()
    expected = gaussian(features.double()) @ values.double()
    assert (Exact(features).apply(values) - expected).abs().max() < 2e-4


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5, 7])
def test_the_lattice_is_the_native_one(dimensions):
    features = points(batch=1, dimensions=dimensions, dtype=torch.float32)
    native = _native.lattice(np.ascontiguousarray(features[0].T.numpy()), 1, 0)
    lattice = Lattice(features)
    assert lattice.vertices == native.vertices
    values = torch.randn(1, 50, 4)
    out = np.empty((4, 50), np.float32)
    native.apply(np.ascontiguousarray(values[0].T.numpy()), out, 1)
    torch.testing.assert_close(lattice.apply(values)[0].T, torch.from_numpy(out), atol=1e-4, rtol=1e-4)


def test_a_batch_is_one_lattice_of_separate_images():
    features, values = points(), torch.randn(2, 50, 3, dtype=torch.float64)
    together = Lattice(features).apply(values)
    for place in range(2):
        assert torch.equal(Lattice(features[place : place + 1]).apply(values[place : place + 1])[0], together[place])


@pytest.mark.parametrize("normalization", ["none", "before", "after", "symmetric"])
@pytest.mark.parametrize("filtering", ["exact", "lattice"])
def test_gradients(normalization, filtering):
    features, values = points(1, 12, 3), torch.randn(1, 12, 2, dtype=torch.float64)
    exact = filtering == "exact"

    def run(values, features):
        return gaussian_filter(features, values, normalization=normalization, filtering=filtering)

    inputs = values.requires_grad_(), features.requires_grad_(exact)
    assert torch.autograd.gradcheck(run, inputs, eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True)


def test_weighted_means_of_ones_are_ones():
    for filtering in ("fine", "lattice", "exact"):
        found = gaussian_filter(points(dtype=torch.float32), torch.ones(2, 50, 1), filtering=filtering)
        torch.testing.assert_close(found, torch.ones(2, 50, 1), atol=1e-5, rtol=0)


def test_bad_input():
    with pytest.raises(InputError, match="features"):
        gaussian_filter(torch.zeros(2, 5, 3), torch.zeros(2, 4, 1))
    with pytest.raises(InputError, match="fine"):
        gaussian_filter(torch.zeros(1, 5, 6), torch.zeros(1, 5, 1), filtering="fine")
    with pytest.raises(InputError, match="standard deviations"):
        gaussian_filter(torch.tensor([[[0.0] * 9, [1e9] * 9]]), torch.zeros(1, 2, 1), filtering="lattice")

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from atrous import _native
from atrous.meanfield.filters import Native, grid_filter, make_filter, scales
from atrous.meanfield.lattice import Lattice
from atrous.meanfield.steps import Term, _Steps, mean_field

SIDE, LABELS, STEPS = 24, 5, 10


def features(sxy=8.0, srgb=20.0):
    """Return (1, N, 5) features of a photo-like image: smooth areas, edges and a little noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.stack([80 + 100 * (x + y > SIDE), 60 + 3 * x, 40 + 120 * (y > 9)], -1) + rng.normal(
        0, 6, (SIDE, SIDE, 3)
    )
    rows = np.concatenate([np.stack([x, y], -1) / sxy, image / srgb], -1).reshape(1, -1, 5)
    return torch.from_numpy(rows.astype(np.float32))


def problem(form):
    """Return logits, the gradient at the scores, and gains."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(1, SIDE * SIDE, LABELS, generator=generator)
    grad = torch.randn(1, SIDE * SIDE, LABELS, generator=generator)
    shape = (LABELS, LABELS) if form == "matrix" else (LABELS,)
    gains = [3 * torch.rand(shape, generator=generator) for _ in range(2)]
    return logits, grad, gains


def gradients(filters, normalization, logits, grad, gains, dtype=torch.float32):
    """Return the gradients at the logits and the gains."""
    ones = torch.ones(1, logits.shape[1], 1, dtype=dtype)
    logits = logits.detach().to(dtype).requires_grad_()
    gains = [each.detach().to(dtype).requires_grad_() for each in gains]
    terms = [
        Term(kernel, *scales(kernel.apply(ones)[..., 0], normalization), each)
        for kernel, each in zip(filters, gains, strict=True)
    ]
    mean_field(logits, terms, STEPS).backward(grad.to(dtype))
    return [each.grad for each in (logits, *gains)]


class Double:
    """A filter's matrix in double precision, or K in the place of its transpose."""

    def __init__(self, matrix, transposes=True):
        self.matrix, self.transposes = matrix, transposes

    def apply(self, values, *, transposed=False):
        return (self.matrix.mT if transposed and self.transposes else self.matrix) @ values


def matrix(kernel):
    return kernel.apply(torch.eye(SIDE * SIDE)[None]).double()


def relative(found, expected):
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("normalization", ["after", "before", "symmetric"])
@pytest.mark.parametrize("form", ["label", "matrix"])
@pytest.mark.parametrize("filtering", ["lattice", "fine"])
def test_native_gradients_are_those_in_double_precision(normalization, form, filtering):
    filters = [grid_filter((SIDE, SIDE), (2.0, 2.0), 1), make_filter(features(), filtering, SIDE)]
    assert all(isinstance(each, Native) for each in filters)
    logits, grad, gains = problem(form)
    found = gradients(filters, normalization, logits, grad, gains)
    exact = [Double(matrix(each)) for each in filters]
    expected = gradients(exact, normalization, logits, grad, gains, torch.float64)
    for one, other in zip(found, expected, strict=True):
        assert relative(one, other) <= 2e-5
    if filtering == "lattice":
        untransposed = [Double(each.matrix, transposes=False) for each in exact]
        wrong = gradients(untransposed, normalization, logits, grad, gains, torch.float64)
        assert relative(wrong[0], expected[0]) > 1e-3


def test_the_transposed_matrix_of_native_filters():
    lattice, fine = make_filter(features(), "lattice", SIDE), make_filter(features(), "fine", SIDE)
    eye = torch.eye(SIDE * SIDE)[None]
    for kernel in (lattice, fine, grid_filter((SIDE, SIDE), (2.0, 2.0), 1)):
        assert relative(kernel.apply(eye, transposed=True).mT, matrix(kernel)) <= 1e-6
        assert kernel.symmetric == (relative(kernel.apply(eye).mT, matrix(kernel)) <= 1e-6)
    assert not lattice.symmetric
    torch_lattice = Lattice(features())
    for transposed in (False, True):
        found, expected = (each.apply(eye, transposed=transposed) for each in (lattice, torch_lattice))
        assert relative(found, expected.double()) <= 1e-5


@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_native_steps_are_those_of_torch(iterations):
    filters = [grid_filter((SIDE, SIDE), (2.0, 2.0), 2), make_filter(features().repeat(2, 1, 1), "lattice", SIDE)]
    logits, _, gains = problem("matrix")
    logits = torch.cat([logits, logits.flip(1)])
    terms = [Term(kernel, None, None, 0.01 * each) for kernel, each in zip(filters, gains, strict=True)]
    expected = _Steps.apply(logits, terms, iterations, *gains)
    found = mean_field(logits, terms, iterations)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    alone = mean_field(logits[1:], [term._replace(filter=Native([term.filter[1]])) for term in terms], iterations)
    assert torch.equal(found[1:], alone)


def test_arrays_that_do_not_fit():
    model = _native.Model(6)
    model.add(_native.grid_gaussian((2, 3), (1.0, 1.0)), None, np.ones(6, np.float32), np.ones(3, np.float32))
    logits, marginals = np.zeros((3, 6), np.float32), np.zeros((2, 6 * _native.padded_width(3)), np.float32)
    with pytest.raises(ValueError, match="scores"):
        model.record(logits, marginals, np.zeros((3, 5), np.float32), 1)
    with pytest.raises(ValueError, match="marginals"):
        model.record(logits, marginals[:, 1:].copy(), logits.copy(), 1)
    with pytest.raises(ValueError, match="gains"):
        model.record(np.zeros((4, 6), np.float32), marginals, np.zeros((4, 6), np.float32), 1)
    with pytest.raises(ValueError, match="at_gains"):
        model.gradient(marginals, logits, logits.copy(), [np.zeros(2, np.float32)], 1)
    with pytest.raises(ValueError, match="terms"):
        _native.Model(6).record(logits, marginals, logits.copy(), 1)

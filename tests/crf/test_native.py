"""What the compiled module promises beyond what atrous.crf asks of it."""

import numpy as np
import pytest

from atrous import _native

SHAPE, POINTS = (6, 7), 42


def model_of_two():
    model = _native.Model(POINTS)
    model.add(_native.grid_gaussian(SHAPE, (1.0, 2.0)), None, np.full(POINTS, 0.3, np.float32), None)
    return model


def infer(unary, out):
    return model_of_two().infer(unary, energies=True, iterations=3, trace=True, threads=2, probabilities=out)


def test_two_labels_may_be_written_over_their_energies(rng):
    unary = rng.normal(0, 2, (2, POINTS)).astype(np.float32)
    apart, over = np.empty_like(unary), unary.copy()
    expected = infer(unary, apart)
    got = infer(over, over)
    np.testing.assert_array_equal(over, apart)
    assert got.energy == expected.energy
    assert got.entropy == expected.entropy


@pytest.mark.parametrize("shape", [(2**40, 2**40), (2**62,), (2, 2**62, 2)])
def test_a_grid_that_no_number_counts_is_refused(shape):
    with pytest.raises(ValueError, match="too many points"):
        _native.grid_gaussian(shape, (1e-3,) * len(shape))


def test_energies_that_claim_more_than_memory_holds_are_refused():
    claimed = np.broadcast_to(np.zeros((1, 1), np.float32), (2**20, 2**30))
    with pytest.raises(ValueError, match="labels"):
        _native.Model(2**30).infer(claimed, energies=True, iterations=1, threads=1)


def test_no_filter_is_refused():
    with pytest.raises(TypeError):
        _native.Model(POINTS).add(None, None, np.ones(POINTS, np.float32), None)

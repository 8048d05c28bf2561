from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from atrous.errors import InputError
from atrous.web.rle import decode_labels, encode_labels


@settings(deadline=None, max_examples=40)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 255])))
def test_there_and_back(labels):
    values, lengths = encode_labels(labels)
    assert all(a != b for a, b in pairwise(values))
    assert np.array_equal(decode_labels(values, lengths, labels.shape, "map", labels.size), labels)


@pytest.mark.parametrize(
    ("values", "lengths", "size", "says"),
    [
        ([0, 1], [4], (2, 2), "map: expected a count above 0 for each label, 4 in all"),
        ([0, 1], [4, 0], (2, 2), "4 in all"),
        ([0], [5], (2, 2), "4 in all"),
        ([256], [4], (2, 2), "labels from 0 to 255, got 256 to 256"),
        ([0], [0], (0, 2), "expected 1 to 9 pixels, got 2x0"),
        ([0], [16], (4, 4), "expected 1 to 9 pixels, got 4x4"),
    ],
)
def test_no_runs(values, lengths, size, says):
    with pytest.raises(InputError, match=says):
        decode_labels(values, lengths, size, "map", 9)

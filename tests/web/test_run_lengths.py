import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

pytest.importorskip("gradio")

from atrous.web.run_lengths import decode, encode


def test_counts_go_down_the_columns():
    labels = np.array([[0, 5, 5], [5, 5, 0]], np.uint8)
    assert encode(labels) == {0: [0, 1, 4, 1], 5: [1, 4, 1]}


@settings(deadline=None, max_examples=40)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 255])))
def test_there_and_back(labels):
    runs = encode(labels)
    assert sorted(runs) == np.unique(labels).tolist()
    for label, counts in runs.items():
        assert sum(counts) == labels.size
        assert all(count > 0 for count in counts[1:])
        assert np.array_equal(decode(counts, labels.shape), labels == label)

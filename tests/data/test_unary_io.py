import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from atrous.data import parse_array
from atrous.errors import InputError


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([np.float16, np.float32, np.float64, np.uint8, ">f4"]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=1, max_dims=4, max_side=5))
    ),
    st.booleans(),
)
def test_what_was_saved_is_parsed(array, by_columns):
    array = np.asfortranarray(array) if by_columns else array
    found = parse_array(saved(array), "a.npy")
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        saved(np.zeros(5))[:-1],
        saved(np.zeros(5)) + b"\0",
        saved(np.zeros(5)).replace(b"(5,)", b"(-5,)"),
        saved(np.zeros(5)).replace(b"(5,), ", b"(9**9,)"),
        saved(np.array([{}, 1], dtype=object)),
        b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 70_000,
        b"\x93NUMPY\x09\x00\x04\x00{}  ",
    ],
)
def test_what_is_no_array(content):
    with pytest.raises(InputError, match=r"^a.npy: .*numpy.save"):
        parse_array(content, "a.npy")

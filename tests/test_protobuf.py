import pytest
from hypothesis import given
from hypothesis import strategies as st

from atrous._protobuf import BYTES, FIXED32, FIXED64, VARINT, MalformedError, Wire, signed


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_fields_of_every_type():
    data = b"\x08\x96\x01" + b"\x12\x03abc" + b"\x1d" + bytes(4) + b"\x21" + bytes(8) + b"\x12\x00"
    assert list(Wire(data, 9).fields(0, len(data))) == [
        (1, VARINT, 150, 3),
        (2, BYTES, 5, 8),
        (3, FIXED32, 9, 13),
        (4, FIXED64, 14, 22),
        (2, BYTES, 24, 24),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # a number that is not there
        b"\x08\x80",
        b"\x08" + b"\x80" * 20 + b"\x01",
        b"\x12\x05abc",
        b"\x12",
        b"\x12" + b"\xff" * 9 + b"\x01",
        b"\x1d\x00",
        b"\x0b\x0c",  # a group
        b"\x0f",
        b"\x80",
    ],
)
def test_what_is_cut_short_or_no_message(data):
    with pytest.raises(MalformedError):
        list(Wire(data, 9).fields(0, len(data)))


def test_a_field_ends_within_its_message():
    data = b"\x12\x05\x12\x09abc" + bytes(20)
    wire = Wire(data, 9)
    (field,) = [found for found in wire.fields(0, 7) if found[1] == BYTES]
    with pytest.raises(MalformedError):
        list(wire.fields(*field[2:]))
    with pytest.raises(MalformedError):
        list(wire.fields(0, len(data) + 1))


def test_fields_are_counted_over_all_messages():
    data = b"\x08\x01" * 6
    wire = Wire(data, 10)
    assert len(list(wire.fields(0, 12))) == 6
    with pytest.raises(MalformedError, match="too many"):
        list(wire.fields(0, 12))


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_packed_numbers(numbers):
    data = b"".join(map(varint, numbers))
    assert Wire(data, 0).varints(0, len(data)) == numbers


@given(st.integers(-(2**63), 2**63 - 1))
def test_numbers_below_0_are_the_upper_half(number):
    assert signed(number % 2**64) == number


@given(st.binary(max_size=60))
def test_any_bytes_end(data):
    try:
        found = list(Wire(data, 100).fields(0, len(data)))
    except MalformedError:
        return
    assert all(end <= len(data) for _, _, _, end in found)

"""Bounded reader of protobuf's wire format, for untrusted files."""

from collections.abc import Iterator
from typing import Protocol

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}


class Buffer(Protocol):
    """Indexable bytes: `bytes` or a memory-mapped file."""

    def __getitem__(self, index: int, /) -> int: ...

    def __len__(self) -> int: ...


class MalformedError(ValueError):
    """The bytes are not a protobuf message, or have too many fields."""


class Wire:
    """Reader of a message and of its nested messages, with a limit on the number of fields.

    Parameters
    ----------
    data : bytes or mmap
    most_fields : int
        Limit on the number of fields. Without it, a file of empty fields would take hours.
    """

    def __init__(self, data: Buffer, most_fields: int) -> None:
        self.data = data
        self.left = most_fields

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield (number, wire type, a, b) of each field between two offsets.

        a is the value of a VARINT. For other types, a and b are the offsets of the value's bytes.

        Raises
        ------
        MalformedError
            If a field ends beyond `end`, has an obsolete wire type, or there are too many fields.
        """
        data, at = self.data, start
        if end > len(data):
            raise MalformedError("it is cut short or not protobuf")
        while at < end:
            self.left -= 1
            if self.left < 0:
                raise MalformedError("it has too many fields")
            key = data[at]
            at += 1
            if key > 127:  # keys of several bytes are rare
                key, at = self._varint(at - 1, end)
            kind = key & 7
            if kind in (BYTES, VARINT):
                value = data[at] if at < end else 128
                at += 1
                if value > 127:
                    value, at = self._varint(at - 1, end)
                if kind == VARINT:
                    yield key >> 3, kind, value, at
                    continue
            elif kind in _SIZES:
                value = _SIZES[kind]
            else:
                raise MalformedError("it is cut short or not protobuf")
            at += value
            if at > end:
                raise MalformedError("it is cut short or not protobuf")
            yield key >> 3, kind, at - value, at

    def varints(self, start: int, end: int) -> list[int]:
        """Return the packed unsigned integers between two offsets."""
        found = []
        while start < end:
            value, start = self._varint(start, end)
            found.append(value)
        return found

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 70:
            byte = self.data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value & 0xFFFF_FFFF_FFFF_FFFF, at
            shift += 7
        raise MalformedError("it is cut short or not protobuf")


def signed(value: int) -> int:
    """Return a varint as int64."""
    return value - (1 << 64) if value >> 63 else value

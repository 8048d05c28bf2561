"""Reader of one matrix in a MATLAB file (MAT-File Format, version 5): a field of a struct, as SBD stores its labels.

SciPy's reader does not check the type numbers in a file, so a damaged file causes a segmentation fault.
"""

import math
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_HEADER = 128  # bytes: text, version, byte order
_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15  # element types
_STRUCT, _FIRST_NUMERIC, _LAST_NUMERIC = 2, 6, 15  # array classes
_LARGEST = 1 << 28  # bytes of an unpacked element: a mask of 16,000 x 16,000 pixels

Element = tuple[int, memoryview]


def read_field(content: bytes, variable: str, field: str) -> NDArray[np.generic]:
    """Return a numeric matrix from a field of a 1x1 struct.

    Parameters
    ----------
    content : bytes
        Contents of the file.
    variable, field : str

    Returns
    -------
    array
        The matrix with its stored type and shape.

    Raises
    ------
    ValueError
        If the file is damaged, has another version or another structure.
    """
    order = _ORDERS.get(content[_HEADER - 4 : _HEADER])
    if order is None:
        raise ValueError("expected version 5")
    for element in _elements(memoryview(content)[_HEADER:], order):
        kind, data = _unpacked(element, order)
        if kind != _MATRIX:
            continue
        array_class, shape, name, parts = _matrix(data, order)
        if name != variable:
            continue
        if array_class != _STRUCT or math.prod(shape) != 1:
            raise ValueError(f"{variable} is not a struct")
        length = _number(next(parts), order)
        names = bytes(next(parts)[1])
        if length < 1:
            raise ValueError("field names have length 0")
        for start in range(0, len(names), length):
            kind, data = next(parts)
            if names[start : start + length].split(b"\0")[0] == field.encode():
                return _numeric(data, order)
        raise ValueError(f"{variable} has no field {field}")
    raise ValueError(f"no variable {variable}")


def _elements(data: memoryview, order: str) -> Iterator[Element]:
    """Yield the type and the data of each element."""
    at = 0
    while at + 8 <= len(data):
        tag, size = map(int, np.frombuffer(data[at : at + 8], f"{order}u4"))
        if tag >> 16:  # up to four bytes are stored in the tag
            kind, size, start, following = tag & 0xFFFF, tag >> 16, at + 4, at + 8
            if size > 4:
                raise ValueError(f"expected an element of up to 4 bytes, got {size}")
        else:
            kind, start = tag, at + 8
            following = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(data):
            raise ValueError("cut short")
        yield kind, data[start : start + size]
        at = following


def _parts(data: memoryview, order: str) -> Iterator[Element]:
    """Yield the nested elements of an element; raise ValueError after the last one."""
    yield from _elements(data, order)
    raise ValueError("cut short")


def _unpacked(element: Element, order: str) -> Element:
    kind, data = element
    if kind != _COMPRESSED:
        return element
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(data, _LARGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacker.eof:
        raise ValueError("cut short, or too large")
    return next(_parts(memoryview(unpacked), order))


def _matrix(data: memoryview, order: str) -> tuple[int, tuple[int, ...], str, Iterator[Element]]:
    """Return an array's class, shape, name and further elements."""
    parts = _parts(data, order)
    array_class = _number(next(parts), order) & 0xFF
    shape = tuple(map(int, _numbers(next(parts), order).astype(np.int64)))
    return array_class, shape, bytes(next(parts)[1]).decode("latin-1"), parts


def _numeric(data: memoryview, order: str) -> NDArray[np.generic]:
    array_class, shape, _, parts = _matrix(data, order)
    if not _FIRST_NUMERIC <= array_class <= _LAST_NUMERIC:
        raise ValueError("not a matrix of numbers")
    values = _numbers(next(parts), order)
    if len(shape) < 2 or any(side < 0 for side in shape) or math.prod(shape) != len(values):
        raise ValueError(f"expected numbers for shape {shape}, got {len(values)}"[:100])
    return values.reshape(shape, order="F")


def _number(element: Element, order: str) -> int:
    values = _numbers(element, order)
    if len(values) == 0 or values.dtype.kind == "f":
        raise ValueError("expected a whole number")
    return int(values[0])


def _numbers(element: Element, order: str) -> NDArray[np.generic]:
    kind, data = element
    if kind not in _NUMBERS:
        raise ValueError(f"expected numbers, got an element of type {kind}")
    return np.frombuffer(data, f"{order}{_NUMBERS[kind]}")

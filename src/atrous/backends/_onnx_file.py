"""Bounded reader of ONNX graphs. It needs no package onnx and does not load the weights."""

import math
import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._file_kinds import HEAD, refuse_foreign
from .._protobuf import BYTES, VARINT, MalformedError, Wire, signed
from ..data.metadata import METADATA_KEY
from ..errors import InputError

# protobuf's own limit.
LARGEST_FILE = 2**31 - 1

# MSc's int8 network, the largest exported one, has 7,000 fields, 235 nodes and 250 tensors.
MOST_FIELDS = 200_000
MOST_NODES = 2_000
MOST_TENSORS = 5_000
LONGEST_METADATA = 1 << 20

# ONNX's codes of the data types that an export contains.
FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16, DOUBLE = 1, 2, 3, 6, 7, 9, 10, 11
TYPES = {FLOAT: "<f4", UINT8: "u1", INT8: "i1", INT32: "<i4", INT64: "<i8", BOOL: "?", FLOAT16: "<f2", DOUBLE: "<f8"}

# Fields of a tensor that store its values, and the data types that each can store.
_FLOATS, _INT32S, _INT64S, _RAW, _DOUBLES = 4, 5, 7, 9, 10
_HOLDS = {
    _FLOATS: {FLOAT},
    _INT32S: {UINT8, INT8, INT32, BOOL, FLOAT16},
    _INT64S: {INT64},
    _RAW: set(TYPES),
    _DOUBLES: {DOUBLE},
}

# Limit for tensors of sizes and scales, whose values are read. The weights stay in the file.
_MOST_VALUES = 4096
_CHUNK = 1 << 18


def quoted(name: bytes) -> str:
    """Quote a name from a file for a message."""
    return f"{name.decode('utf-8', 'replace')!r:.80}"


@dataclass
class Tensor:
    """A tensor in the file: weights, or an attribute's value.

    Attributes
    ----------
    name : bytes
    data_type : int
        As in ONNX's `TensorProto`.
    shape : tuple of int
    values : (n,) array, or None
        All values of a small tensor; None for a large one.
    """

    name: bytes
    data_type: int
    shape: tuple[int, ...]
    values: NDArray[np.generic] | None


# An attribute's value.
Attribute: TypeAlias = int | list[int] | bytes | Tensor | None


@dataclass
class Node:
    """An operator with its inputs and outputs.

    Attributes
    ----------
    op_type, domain : bytes
    inputs, outputs : list of bytes
        Names of values; an omitted input is empty.
    raw_attributes : list of bytes
        Not parsed.
    """

    op_type: bytes = b""
    domain: bytes = b""
    inputs: list[bytes] = field(default_factory=list)
    outputs: list[bytes] = field(default_factory=list)
    raw_attributes: list[bytes] = field(default_factory=list)

    def attributes(self) -> dict[bytes, "Attribute"]:
        """Parse the attributes: an int, ints, bytes or a Tensor by name; None for types that no export contains.

        Raises
        ------
        MalformedError
            If an attribute is not a protobuf message, or two have the same name.
        """
        found: dict[bytes, Attribute] = {}
        for data in self.raw_attributes:
            name, value = _Reader(data).attribute()
            if name in found:
                raise MalformedError(f"a node has two attributes {quoted(name)}")
            found[name] = value
        return found


@dataclass
class ValueInfo:
    """An input or output of the graph: its name, data type and shape; None for sides that may have any length."""

    name: bytes = b""
    data_type: int = 0
    shape: list[int | None] | None = None


@dataclass
class Graph:
    """The contents of an ONNX file.

    Attributes
    ----------
    nodes : list of Node
        In topological order, if the file is valid.
    tensors : dict of bytes to Tensor
        Initializers by name.
    inputs, outputs : list of ValueInfo
    opset : int
        Version of the operator set.
    metadata : str or None
        The value of the metadata entry of atrous.
    """

    nodes: list[Node] = field(default_factory=list)
    tensors: dict[bytes, Tensor] = field(default_factory=dict)
    inputs: list[ValueInfo] = field(default_factory=list)
    outputs: list[ValueInfo] = field(default_factory=list)
    opset: int = 0
    metadata: str | None = None


def read_graph(path: Path, *, whole: bool = True) -> Graph:
    """Read an ONNX file's graph; the weights stay in the file.

    Parameters
    ----------
    path : Path
    whole : bool
        Whether to read all of the graph. If False, read only the version of the operators and the metadata.

    Raises
    ------
    InputError
        If the file is not an ONNX model, is truncated, contains functions or external data, or has weights whose
        number does not match their shape.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if not 0 < size <= LARGEST_FILE:
                raise InputError(f"{path}: expected an ONNX model of 1 byte to 2 GB, got {size} bytes")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                refuse_foreign(
                    path, data[:HEAD], "a model of atrous export", "make one with atrous convert and atrous export"
                )
                return _Reader(data).model(whole)
    except MalformedError as error:
        raise InputError(f"{path}: expected a model of atrous export ({error}); export or fetch it again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


class _Reader:
    def __init__(self, data: "mmap.mmap | bytes") -> None:
        self.data = data
        self.wire = Wire(data, MOST_FIELDS)
        self.fields = self.wire.fields

    def model(self, whole: bool) -> Graph:
        graph: Graph | None = None
        found = Graph()
        texts = []
        for number, kind, a, b in self.fields(0, len(self.data)):
            if number == 7 and kind == BYTES:
                if graph is not None:
                    raise MalformedError("it has two graphs")
                graph = self._graph(a, b) if whole else Graph()
            elif number == 8 and kind == BYTES:
                domain, version = self._opset(a, b)
                if domain in (b"", b"ai.onnx"):
                    if found.opset:
                        raise MalformedError("it names two versions of the operators")
                    found.opset = version
            elif number == 14 and kind == BYTES:
                texts += self._entry(a, b)
            elif number == 25:
                raise MalformedError("it defines functions")
        if graph is None:
            raise MalformedError("it has no graph")
        if len(texts) > 1:
            raise MalformedError("it has the metadata of atrous twice")
        graph.opset = found.opset
        try:
            graph.metadata = texts[0].decode("utf-8") if texts else None
        except UnicodeDecodeError:
            raise MalformedError("its metadata is no UTF-8 text") from None
        return graph

    def _opset(self, start: int, end: int) -> tuple[bytes, int]:
        domain, version = b"", 0
        for number, kind, a, b in self.fields(start, end):
            if number == 1 and kind == BYTES:
                domain = self.data[a:b]
            elif number == 2 and kind == VARINT:
                version = a
        return domain, version

    def _entry(self, start: int, end: int) -> list[bytes]:
        key, at = b"", (0, 0)
        for number, kind, a, b in self.fields(start, end):
            if number == 1 and kind == BYTES:
                key = self.data[a:b]
            elif number == 2 and kind == BYTES:
                at = a, b
        if key != METADATA_KEY.encode():
            return []
        if at[1] - at[0] > LONGEST_METADATA:
            raise MalformedError(f"its metadata has {at[1] - at[0]} bytes")
        return [self.data[slice(*at)]]

    def _graph(self, start: int, end: int) -> Graph:
        graph = Graph()
        for number, kind, a, b in self.fields(start, end):
            if kind != BYTES:
                continue
            if number == 1:
                graph.nodes.append(self._node(a, b))
            elif number == 5:
                tensor = self._tensor(a, b)
                if graph.tensors.setdefault(tensor.name, tensor) is not tensor:
                    raise MalformedError(f"it has two tensors {quoted(tensor.name)}")
            elif number in (11, 12):
                (graph.inputs if number == 11 else graph.outputs).append(self._value_info(a, b))
            elif number == 15:
                raise MalformedError("it holds sparse tensors")
            if len(graph.nodes) > MOST_NODES or len(graph.tensors) > MOST_TENSORS:
                raise MalformedError(f"it has more than {MOST_NODES} nodes or {MOST_TENSORS} tensors")
        # Early versions of ONNX list the weights among the inputs.
        graph.inputs = [info for info in graph.inputs if info.name not in graph.tensors]
        return graph

    def _node(self, start: int, end: int) -> Node:
        node = Node()
        data = self.data
        for number, kind, a, b in self.fields(start, end):
            if kind != BYTES:
                continue
            if number == 1:
                node.inputs.append(data[a:b])
            elif number == 2:
                node.outputs.append(data[a:b])
            elif number == 4:
                node.op_type = data[a:b]
            elif number == 5:
                node.raw_attributes.append(data[a:b])
            elif number == 7:
                node.domain = data[a:b]
        return node

    def attribute(self) -> tuple[bytes, Attribute]:
        name = b""
        value: Attribute = None
        numbers: list[int] = []
        for number, kind, a, b in self.fields(0, len(self.data)):
            if number == 1 and kind == BYTES:
                name = self.data[a:b]
            elif number == 3 and kind == VARINT:
                value = signed(a)
            elif number == 4 and kind == BYTES:
                value = self.data[a:b]
            elif number == 5 and kind == BYTES:
                value = self._tensor(a, b)
            elif number == 8:
                numbers += map(signed, [a] if kind == VARINT else self.wire.varints(a, b))
        if numbers and value is not None:
            raise MalformedError(f"an attribute {quoted(name)} has two values")
        return name, numbers or value

    def _value_info(self, start: int, end: int) -> ValueInfo:
        info = ValueInfo()
        for a, b in self._within(start, end, 1):
            info.name = self.data[a:b]
        for tensor in self._within(start, end, 2, 1):
            info.data_type = self._number(*tensor) or 0
            for shape in self._within(*tensor, 2):
                info.shape = [self._number(*side) for side in self._within(*shape, 1)]
        return info

    def _number(self, start: int, end: int) -> int | None:
        """Return the number in a message's first field, or None."""
        found = (signed(a) for number, kind, a, _ in self.fields(start, end) if (number, kind) == (1, VARINT))
        return next(found, None)

    def _within(self, start: int, end: int, *path: int) -> list[tuple[int, int]]:
        """Return the offsets of the nested messages at a path of field numbers."""
        places = [(start, end)]
        for step in path:
            inner = [found for place in places for found in self.fields(*place)]
            places = [(a, b) for number, kind, a, b in inner if (number, kind) == (step, BYTES)]
        return places

    def _tensor(self, start: int, end: int) -> Tensor:
        name, kind = b"", 0
        shape: list[int] = []
        places: list[tuple[int, int, int]] = []  # field and offsets
        outside = False
        for number, wire, a, b in self.fields(start, end):
            if number == 1:
                shape += map(signed, [a] if wire == VARINT else self.wire.varints(a, b))
            elif number == 2 and wire == VARINT:
                kind = a
            elif number == 8 and wire == BYTES:
                name = self.data[a:b]
            elif number in _HOLDS and wire == BYTES:
                places.append((number, a, b))
            elif number == 14:
                outside |= a != 0
            elif number not in (12, 16):  # doc_string and metadata_props
                outside = True
        if outside:
            raise MalformedError(f"the numbers of {quoted(name)} are in another file, or in an unknown encoding")
        if kind not in TYPES or len(shape) > 8 or min(shape, default=0) < 0:
            raise MalformedError(f"{quoted(name)} has a data type or a shape that no export contains")
        if len(places) > 1 or (places and kind not in _HOLDS[places[0][0]]):
            raise MalformedError(f"the numbers of {quoted(name)} have two types")
        count = math.prod(shape)
        values = self._numbers(name, kind, count, *(places[0] if places else (_RAW, 0, 0)))
        return Tensor(name, kind, tuple(shape), values)

    def _numbers(self, name: bytes, kind: int, count: int, number: int, start: int, end: int) -> NDArray[Any] | None:
        """Compare the number of values with their shape; return the values of a small tensor if they are needed."""
        data = self.data
        if number in (_INT32S, _INT64S):  # varints, each of which ends with a byte below 128
            ends = sum(
                np.count_nonzero(np.frombuffer(data[at : min(at + _CHUNK, end)], np.int8) >= 0)
                for at in range(start, end, _CHUNK)
            )
            found = float(ends)
        else:
            found = (end - start) / np.dtype(TYPES[kind]).itemsize
        if found != count:
            raise MalformedError(f"{quoted(name)} has {found:g} numbers for a shape of {count:.4g}")
        few = count <= _MOST_VALUES
        if number == _INT64S or (number == _INT32S and kind == FLOAT16):
            if not few and kind == FLOAT16:
                raise MalformedError(f"{quoted(name)} has {count} numbers in half precision, stored one by one")
            if not few:
                return None
            numbers = self.wire.varints(start, end)
            if kind == INT64:
                return np.array([signed(value) for value in numbers], np.int64)
            values = np.array([value & 0xFFFF for value in numbers], np.uint16).view(np.float16)
            return self._finite(name, values)
        if kind in (FLOAT, FLOAT16, DOUBLE):
            for at in range(start, end, _CHUNK):
                values = self._finite(name, np.frombuffer(data[at : min(at + _CHUNK, end)], TYPES[kind]))
            return values if few and count else None
        return np.frombuffer(data[start:end], np.int64) if kind == INT64 and few and number == _RAW else None

    def _finite(self, name: bytes, values: NDArray[Any]) -> NDArray[Any]:
        if not np.isfinite(values).all():
            raise MalformedError(f"{quoted(name)} holds NaN or infinity")
        return values

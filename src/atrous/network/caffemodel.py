"""Reader of Caffe's binary model files that does not need Caffe."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._protobuf import BYTES, MalformedError, Wire
from ..errors import InputError, MissingExtra
from .multiscale import BRANCH_CHANNELS, BRANCHES

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from google.protobuf.message import DecodeError
except ImportError as error:
    raise MissingExtra.of(f"{error.name} is not installed, but reading Caffe's models needs it", "train") from None

_Kind = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _Kind.LABEL_OPTIONAL, _Kind.LABEL_REPEATED

# Fields (name, number, type, label) that are read, by message; others are skipped. Packed numbers are declared as
# bytes, so that half a gigabyte of them is not converted to Python floats.
_FIELDS: dict[str, list[tuple[str, int, Any, Any]]] = {
    "Shape": [("dim", 1, _Kind.TYPE_INT64, _MANY)],
    "Blob": [
        ("num", 1, _Kind.TYPE_INT64, _ONE),
        ("channels", 2, _Kind.TYPE_INT64, _ONE),
        ("height", 3, _Kind.TYPE_INT64, _ONE),
        ("width", 4, _Kind.TYPE_INT64, _ONE),
        ("data", 5, _Kind.TYPE_BYTES, _MANY),
        ("shape", 7, "Shape", _ONE),
        ("double_data", 8, _Kind.TYPE_BYTES, _MANY),
        # Field of NVIDIA's Caffe, which supports half precision.
        ("raw_data_type", 10, _Kind.TYPE_INT32, _ONE),
        ("raw_data", 12, _Kind.TYPE_BYTES, _ONE),
    ],
    # The same blob with numbers that are not packed.
    "LooseBlob": [("data", 5, _Kind.TYPE_FLOAT, _MANY), ("double_data", 8, _Kind.TYPE_DOUBLE, _MANY)],
    "OldLayer": [
        ("bottom", 2, _Kind.TYPE_BYTES, _MANY),
        ("top", 3, _Kind.TYPE_BYTES, _MANY),
        ("name", 4, _Kind.TYPE_BYTES, _ONE),
        ("blobs", 6, "Blob", _MANY),
    ],
    "Layer": [
        ("name", 1, _Kind.TYPE_BYTES, _ONE),
        ("bottom", 3, _Kind.TYPE_BYTES, _MANY),
        ("top", 4, _Kind.TYPE_BYTES, _MANY),
        ("blobs", 7, "Blob", _MANY),
    ],
    "Net": [("layers", 2, "OldLayer", _MANY), ("layer", 100, "Layer", _MANY)],
}

_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}

# protobuf's own limit.
_LARGEST_FILE = 2**31 - 1

# VGG-16 has 60 layers of about 15 fields. An empty layer or blob takes two bytes in the file and a hundred times as
# many in memory.
_MOST_FIELDS = 100_000
_MOST_AXES = 8


_FIRST, _SECOND, _LAST = "layer1", "layer2", "classifier"


@dataclass(frozen=True)
class CaffeLayer:
    """One layer of a Caffe model.

    Attributes
    ----------
    name : str
    bottoms, tops : tuple of str
        Blobs that the layer reads and writes.
            Weight and bias, or empty.
    """

    name: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    blobs: tuple[Tensor, ...]


def read_caffemodel(path: Path) -> list[CaffeLayer]:
    """Read the layers of a `.caffemodel` in file order, in the old (`layers`) or the new (`layer`) format.

    Raises
    ------
    InputError
        If the file is not a Caffe model, is truncated, or a layer's shape and number of values disagree.
    """
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError(f"{path}: expected a Caffe model of at most 2.1 GB, got {path.stat().st_size / 1e9:.1f} GB")
    net = _messages()["Net"]()
    try:
        data = path.read_bytes()
        _count_fields(data)
        net.ParseFromString(data)
    except (DecodeError, MalformedError):
        raise InputError(
            f"{path}: expected a Caffe model or another known weight file, got an unknown or truncated one; fetch it"
            " again"
        ) from None
    layers = [
        CaffeLayer(_text(layer.name), _texts(layer.bottom), _texts(layer.top), _tensors(layer, path))
        for layer in (*net.layers, *net.layer)
    ]
    if not any(layer.blobs for layer in layers):
        raise InputError(
            f"{path}: expected VGG-16 or DeepLab as safetensors, .pth or .caffemodel, got no layer with weights"
        )
    return layers


def _count_fields(data: bytes) -> None:
    """Raise MalformedError if a model has too many layers or fields."""
    wire = Wire(data, _MOST_FIELDS)
    layers = {number for _, number, _, _ in _FIELDS["Net"]}
    for number, kind, start, end in wire.fields(0, len(data)):
        if number in layers and kind == BYTES:
            for _ in wire.fields(start, end):
                pass


def _text(name: bytes) -> str:
    return name.decode("utf-8", errors="replace")


def _texts(names: Any) -> tuple[str, ...]:
    return tuple(_text(name) for name in names)


def _tensors(layer: Any, path: Path) -> tuple[Tensor, ...]:
    tensors = []
    for blob in layer.blobs:
        if (axes := len(blob.shape.dim)) > _MOST_AXES:
            raise InputError(f"{path}: layer {_text(layer.name)!r:.60} expected up to {_MOST_AXES} axes, got {axes}")
        shape = tuple(blob.shape.dim) if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)
        with np.errstate(over="ignore"):  # doubles beyond float32 become infinite, which is reported later
            numbers = _numbers(blob)
        count = 1
        for side in shape:
            count *= max(side, 0)
        if numbers is None or len(numbers) != count or not count:
            got = "unreadable numbers" if numbers is None else f"{len(numbers)} numbers"
            raise InputError(f"{path}: layer {_text(layer.name)!r:.60} has {got} for shape {shape}; fetch it again")
        tensors.append(torch.from_numpy(numbers.reshape(shape)))
    return tuple(tensors)


def _numbers(blob: Any) -> NDArray[Any] | None:
    """Return a blob's numbers, (n,) of any float type; None if their format is unknown or they are truncated."""
    if blob.HasField("raw_data"):
        kind = _RAW_TYPES.get(blob.raw_data_type)
        return None if kind is None else _from_bytes([blob.raw_data], kind)
    if blob.data:
        return _from_bytes(blob.data, "<f4")
    if blob.double_data:
        return _from_bytes(blob.double_data, "<f8")
    # The remaining numbers are unpacked; the parser stored them as fields of another type.
    loose = _messages()["LooseBlob"]()
    loose.ParseFromString(blob.SerializeToString())
    found = loose.data or loose.double_data
    return np.fromiter(found, np.float32, len(found))


def _from_bytes(chunks: Any, kind: str) -> NDArray[Any] | None:
    chunks = list(chunks)
    if any(len(chunk) % np.dtype(kind).itemsize for chunk in chunks):
        return None
    arrays = [np.frombuffer(chunk, kind) for chunk in chunks]
    joined = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    return joined.astype(np.float16 if kind == "<f2" else np.float32)  # a copy: the bytes are read-only


@cache
def _messages() -> dict[str, Any]:
    """Create the message classes from the list of fields."""
    package = "atrous.caffemodel"
    file = descriptor_pb2.FileDescriptorProto(name="atrous/caffemodel.proto", package=package, syntax="proto2")
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for name, number, kind, label in fields:
            field = described.field.add(name=name, number=number, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = _Kind.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{message}"))
        for message in _FIELDS
    }


def branch_names(layers: Sequence[CaffeLayer], known: Collection[str]) -> dict[str, str]:
    """Return the Caffe layer names of `branches.image.layer1` and the other branch layers.

    Parameters
    ----------
    layers : sequence of CaffeLayer
        All layers in file order, including those without weights, which define the connections.
    known : collection of str
        Names of other layers: conv1_1 to fc8.

    Returns
    -------
    dict of str to str
        Empty if there are no branches.

    Notes
    -----
    A branch starts with a 3x3 convolution to 128 channels, from the image or pool1 to pool4, which all have different
    numbers of channels. The two 1x1 convolutions after it belong to the branch.
    """
    named: dict[str, str] = {}
    place: dict[str, str] = {}  # position in a branch, "image.layer1", by layer name
    behind = _layers_behind(layers, known)
    by_channels = {channels: name for name, (channels, _) in BRANCHES.items()}
    for layer in layers:
        if not layer.blobs or layer.name in known or layer.blobs[0].ndim != 4:
            continue
        out, channels, *kernel = layer.blobs[0].shape
        before = place.get(behind[layer.name], "")
        branch, _, step = before.partition(".")
        if kernel == [3, 3] and out == BRANCH_CHANNELS and channels in by_channels:
            here = f"{by_channels[channels]}.{_FIRST}"
        elif kernel == [1, 1] and step == _FIRST and (out, channels) == (BRANCH_CHANNELS, BRANCH_CHANNELS):
            here = f"{branch}.{_SECOND}"
        elif kernel == [1, 1] and step == _SECOND and channels == BRANCH_CHANNELS:
            here = f"{branch}.{_LAST}"
        else:
            continue
        if f"branches.{here}" not in named:
            place[layer.name] = here
            named[f"branches.{here}"] = layer.name
    return named


def _layers_behind(layers: Sequence[CaffeLayer], known: Collection[str]) -> dict[str, str]:
    """Return for each layer with weights the one whose output it reads, through ReLUs, dropouts and splits.

    In a file without connections, this is the previous layer that is not `known`.
    """
    writer: dict[str, str] = {}  # layer with weights by the blob that it writes
    behind: dict[str, str] = {}
    last = ""
    for layer in layers:
        source = writer.get(layer.bottoms[0], "") if layer.bottoms else ""
        if layer.blobs:
            behind[layer.name] = source if layer.bottoms else last
            source = layer.name
            if layer.name not in known:
                last = layer.name
        for top in layer.tops:
            writer[top] = source
    return behind

"""Parts of which crafted model files are made."""

import json
import random
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))

from atrous.data.metadata import METADATA_KEY
from tiny_model import TINY, write_tiny_model

FLOAT = TensorProto.FLOAT

Change = Callable[[onnx.ModelProto], object]


@cache
def sound_bytes() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_tiny_model(Path(folder) / "sound.onnx", metadata=TINY.to_json()).read_bytes()


def sound_model() -> onnx.ModelProto:
    """Make the model that the others are changed from: a 1x1 convolution of stride 8 from "image" to "scores"."""
    return onnx.load_from_string(sound_bytes())


def edited(change: Change) -> bytes:
    model = sound_model()
    result = change(model)
    return result if isinstance(result, bytes) else model.SerializeToString()


def changed(values: dict) -> dict:
    """The sound metadata with other values; None takes a key away, keys of the CRF begin with "crf."."""
    whole = json.loads(TINY.to_json())
    for key, value in values.items():
        target = whole["crf"] if key.startswith("crf.") else whole
        key = key.removeprefix("crf.")
        target[key] = value
        if value is None:
            del target[key]
    return whole


def with_metadata(*texts: str | bytes) -> bytes:
    """The sound model with any bytes as metadata."""
    model = sound_model()
    del model.metadata_props[:]
    entries = [text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in texts]
    key = b"\x0a" + bytes([len(METADATA_KEY)]) + METADATA_KEY.encode()
    return model.SerializeToString() + b"".join(field(14, key + field(2, entry)) for entry in entries)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def nested(depth: int) -> bytes:
    """An unknown field in an unknown field, and so on."""
    data = b""
    for _ in range(depth):
        data = field(900, data)
    return data


def then(*nodes: onnx.NodeProto, **tensors: np.ndarray) -> Change:
    """Compute "raw", not "scores", and scores from it."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].output[0] = "raw"
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in tensors.items())

    return change


def node(kind: str, inputs: str, output: str = "scores", **settings) -> onnx.NodeProto:
    """An operation on values whose names are parted by spaces, "-" for one that is left out."""
    return helper.make_node(kind, ["" if name == "-" else name for name in inputs.split()], output.split(), **settings)


def conv(**settings) -> Change:
    """Change the convolution's settings."""

    def change(model: onnx.ModelProto) -> None:
        layer = model.graph.node[0]
        kept = [a for a in layer.attribute if a.name not in settings]
        del layer.attribute[:]
        layer.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in settings.items())])

    return change


def weights(make: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Replace the convolution's weights."""

    def change(model: onnx.ModelProto) -> None:
        values = numpy_helper.to_array(model.graph.initializer[0]).copy()
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(make(values), "w"))

    return change


def with_value(value: float, dtype: type = np.float32) -> Change:
    def make(values: np.ndarray) -> np.ndarray:
        values = values.astype(dtype)
        values[1, 1] = value
        return values

    return weights(make)


def tensor(change: Callable[[TensorProto], object], place: int = 0) -> Change:
    return lambda model: change(model.graph.initializer[place]) and None


def resized(name: str, *sizes: int | str | None, kind: int = FLOAT) -> Change:
    """Declare an input or an output of another shape or type."""

    def change(model: onnx.ModelProto) -> None:
        faces = model.graph.input if name == "image" else model.graph.output
        faces[0].CopyFrom(helper.make_tensor_value_info(name, kind, sizes))

    return change


def body(*nodes: onnx.NodeProto, inputs: str, outputs: str) -> onnx.GraphProto:
    def faces(names: str) -> list[onnx.ValueInfoProto]:
        kinds = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "again": TensorProto.BOOL}
        return [
            helper.make_tensor_value_info(n, kinds.get(n, FLOAT), [] if n in kinds else ["n", 3, "h", "w"])
            for n in names.split()
        ]

    return helper.make_graph(nodes, "body", faces(inputs), faces(outputs))


LOOP = body(node("Identity", "go", "again"), node("Relu", "x", "y"), inputs="i go x", outputs="again y")
YES = body(node("Identity", "raw", "yes"), inputs="", outputs="yes")


def recursive(model: onnx.ModelProto) -> None:
    """A function that calls itself."""
    again = helper.make_node("Again", ["x"], ["y"], domain="own")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model.functions.append(helper.make_function("own", "Again", ["x"], ["y"], [again], opsets))
    model.opset_import.append(opsets[1])
    then(helper.make_node("Again", ["raw"], ["scores"], domain="own"))(model)


def doubled(times: int, kind: str = "Concat", **settings) -> Change:
    """A value that grows by each of a chain of operations."""
    names = ["raw", *(f"d{i}" for i in range(times))]
    chain = [node(kind, f"{a} {a}", b, **settings) for a, b in pairwise(names)]
    return then(*chain, node("Slice", f"{names[-1]} zero three one", "scores"), zero=[0], three=[3], one=[1])


def work(layers: int, channels: int) -> Change:
    """Convolutions at the image's size that share their weights: a small file that computes for days."""

    def change(model: onnx.ModelProto) -> None:
        names = ["image", *(f"l{i}" for i in range(layers + 1))]
        kernels = {"first": (channels, 3, 1, 1), "w": (3, channels, 1, 1)}
        if layers:
            kernels["k"] = (channels, channels, 1, 1)
        del model.graph.initializer[0]
        for name, shape in kernels.items():
            model.graph.initializer.append(numpy_helper.from_array(np.full(shape, 1e-3, np.float32), name))
        last = model.graph.node.pop()
        for i, (a, b) in enumerate(pairwise(names)):
            model.graph.node.append(node("Conv", f"{a} {'k' if i else 'first'}", b, kernel_shape=[1, 1]))
        last.input[0] = names[-1]
        model.graph.node.append(last)

    return change


def external(location: str) -> Change:
    def change(stored: TensorProto) -> None:
        stored.ClearField("raw_data")
        stored.data_location = TensorProto.EXTERNAL
        stored.external_data.add(key="location", value=location)

    return tensor(change)


def quantized(scale: float) -> Change:
    return then(
        node("QuantizeLinear", "raw scale zero", "q"),
        node("DequantizeLinear", "q scale zero", "scores"),
        scale=np.float32(scale),
        zero=np.uint8(128),
    )


def fields(stored: TensorProto, **values) -> None:
    stored.ClearField("raw_data")
    for name, value in values.items():
        getattr(stored, name).extend(value)


def dims(*sides: int) -> Change:
    def change(stored: TensorProto) -> None:
        del stored.dims[:]
        stored.dims.extend(sides)

    return tensor(change)


def as_weights_of_graph(model: onnx.ModelProto) -> None:
    model.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in list(model.graph.initializer)
    )


def to_int_sizes(model: onnx.ModelProto) -> None:
    """As exporters write sizes: up to the image's size and down again."""
    then(
        node("Shape", "raw", "s"),
        node("Gather", "s two", "h"),
        node("Gather", "s three", "v"),
        node("Unsqueeze", "h at", "h1"),
        node("Unsqueeze", "v at", "v1"),
        node("Concat", "batch h1 v1", "sizes", axis=0),
        node("Resize", "raw - - sizes", "scores", mode="linear"),
        two=np.int64(2),
        three=np.int64(3),
        at=[0],
        batch=[1, 3],
    )(model)


def mutated(rng: random.Random) -> bytes:
    """Return the sound model with bytes changed, inserted, removed or repeated."""
    data = bytearray(sound_model().SerializeToString())
    for _ in range(rng.randrange(1, 4)):
        place, size = rng.randrange(len(data)), rng.randrange(1, 9)
        part = data[place : place + size]
        flipped = bytes(byte ^ (1 << rng.randrange(8)) for byte in part[:1])
        data[place : place + size] = rng.choice(
            [flipped + part[1:], rng.randbytes(size), b"", part * 3, b"\xff" * size, b"\0" * size]
        )
    return bytes(data)

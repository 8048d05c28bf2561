"""Sizes worked out from a graph are those that ONNX Runtime computes."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from atrous.backends import bundled_model_path
from atrous.backends._cost import cost
from atrous.backends._onnx_file import read_graph
from atrous.backends._operators import ShapeError
from atrous.errors import InputError

RNG = np.random.default_rng(0)
K = {f"k{side}": RNG.normal(size=(5, 3, side, side)).astype(np.float32) for side in (1, 3, 4)}
IMAGE = 1, 3, 33, 25


def node(kind, inputs, output="scores", **settings):
    return helper.make_node(kind, ["" if name == "-" else name for name in inputs.split()], [output], **settings)


@pytest.fixture
def write(tmp_path):
    def write(*nodes, **tensors):
        graph = helper.make_graph(
            nodes,
            "graph",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
            [helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()],
        )
        path = tmp_path / "model.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
        return path

    return write


NODES = {
    "Conv": (node("Conv", "image k3"), K),
    "Conv padded": (node("Conv", "image k3", pads=[1, 2, 3, 4]), K),
    "Conv in strides": (node("Conv", "image k4", strides=[2, 3], kernel_shape=[4, 4]), K),
    "Conv with holes": (node("Conv", "image k3", dilations=[12, 2], pads=[12, 2, 12, 2]), K),
    "Conv in groups": (node("Conv", "image one", group=3), {"one": np.ones((6, 1, 2, 3), np.float32)}),
    "Conv with bias": (node("Conv", "image k1 b"), {**K, "b": np.ones(5, np.float32)}),
    "MaxPool": (node("MaxPool", "image", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), {}),
    "MaxPool up": (node("MaxPool", "image", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1), {}),
    "MaxPool up and far": (node("MaxPool", "image", kernel_shape=[2, 2], strides=[5, 5], ceil_mode=1), {}),
    "MaxPool up and wide": (node("MaxPool", "image", kernel_shape=[5, 4], strides=[4, 3], ceil_mode=1), {}),
    "AveragePool": (node("AveragePool", "image", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1), {}),
    "Relu": (node("Relu", "image"), {}),
    "Add": (node("Add", "image b"), {"b": np.ones((3, 1, 1), np.float32)}),
    "Mul": (node("Mul", "image b"), {"b": np.ones((4, 1, 33, 1), np.float32)}),
    "Concat": (node("Concat", "image image image", axis=1), {}),
    "Concat from the end": (node("Concat", "image image", axis=-1), {}),
    "Transpose": (node("Transpose", "image", perm=[0, 2, 3, 1]), {}),
    "Transpose all": (node("Transpose", "image"), {}),
    "MatMul": (node("MatMul", "image m"), {"m": np.ones((25, 7), np.float32)}),
    "MatMul in a batch": (node("MatMul", "m image"), {"m": np.ones((2, 1, 7, 33), np.float32)}),
    "Pad": (node("Pad", "image by"), {"by": [0, 0, 0, 0, 0, 1, 2, 3]}),
    "Pad some axes": (node("Pad", "image by zero axes"), {"by": [1, 2], "zero": np.float32(0), "axes": [3]}),
    "Pad less": (node("Pad", "image by"), {"by": [0, 0, -3, 0, 0, 0, -2, -1]}),
    "Slice": (node("Slice", "image a b axes"), {"a": [1, -9], "b": [30, 2**40], "axes": [2, 3]}),
    "Slice in steps": (node("Slice", "image a b axes by"), {"a": [0], "b": [2**62], "axes": [-1], "by": [4]}),
    "Slice all": (node("Slice", "image a b"), {"a": [0, 1, 2, 3], "b": [9, 3, -2, 4]}),
    "Reshape": (node("Reshape", "image to"), {"to": [0, -1, 5]}),
    "Squeeze": (node("Squeeze", "image"), {}),
    "Squeeze one": (node("Squeeze", "image at"), {"at": [0]}),
    "Unsqueeze": (node("Unsqueeze", "image at"), {"at": [0, -1]}),
    "Resize to": (node("Resize", "image - - to", mode="linear"), {"to": [1, 3, 7, 100]}),
    "Resize by": (node("Resize", "image - by", mode="nearest"), {"by": np.float32([1, 1, 2.5, 0.3])}),
    "Identity": (node("Identity", "image"), {}),
    "Cast": (node("Cast", "image", to=TensorProto.FLOAT), {}),
}


@pytest.mark.parametrize("name", NODES)
def test_an_operation_gives_the_shape_that_onnx_runtime_gives(write, name):
    operation, tensors = NODES[name]
    path = write(operation, **tensors)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"image": np.zeros(IMAGE, np.float32)})
    assert cost(read_graph(path), IMAGE).scores == scores.shape


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
def test_sizes_are_computed_as_onnx_runtime_does(write, kind):
    path = write(
        node("Shape", "image", "shape", start=2),
        node("Gather", "shape at", "height"),
        node(kind, "height by", "other"),
        node("Squeeze", "other", "scalar"),
        node("Unsqueeze", "scalar at", "row"),
        node("Concat", "batch row shape", "cut", axis=0),
        node("Slice", "cut at four", "sizes"),
        node("Resize", "image - - sizes", mode="nearest"),
        **{"at": [0], "by": [4], "batch": [1, 3], "four": [4]},
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"image": np.zeros(IMAGE, np.float32)})
    assert cost(read_graph(path), IMAGE).scores == scores.shape


def test_whole_numbers_are_divided_toward_zero(write):
    by = {"minus": [-7], "two": [2], "more": [40], "batch": [1, 3], "same": [9]}
    path = write(
        node("Div", "minus two", "less"),
        node("Add", "more less", "rows"),
        node("Concat", "batch rows same", "sizes", axis=0),
        node("Resize", "image - - sizes", mode="nearest"),
        **by,
    )
    assert cost(read_graph(path), IMAGE).scores == (1, 3, 37, 9)


@pytest.mark.parametrize(
    ("pads", "nodes"),
    [
        ([-5000, 5000], [node("Cast", "w", "a", to=TensorProto.INT32), node("Relu", "a", "b")]),
        ([-1, 1], [node("Cast", "w", "b", to=TensorProto.UINT8)]),
        ([3, 1], [node("Cast", "w", "a", to=TensorProto.FLOAT), node("Mul", "a half", "b")]),
    ],
    ids=["Relu", "Cast to uint8", "Cast from float32"],
)
def test_sizes_are_clipped_and_cast_as_onnx_runtime_does(write, pads, nodes):
    path = write(
        *nodes,
        node("Cast", "b", "by", to=TensorProto.INT64),
        node("Pad", "image by zero axes"),
        **{"w": pads, "half": np.float32(0.5), "zero": np.float32(0), "axes": [3]},
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"image": np.zeros(IMAGE, np.float32)})
    assert cost(read_graph(path), IMAGE).scores == scores.shape


@pytest.mark.parametrize("value", [1e-8, 1e8])
def test_constants_beyond_float16_are_rounded(write, value):
    path = write(
        node("Cast", "b", "half", to=TensorProto.FLOAT16),
        node("Cast", "half", "rounded", to=TensorProto.FLOAT),
        node("Add", "image rounded"),
        b=np.float32([value]),
    )
    assert cost(read_graph(path), IMAGE).scores == IMAGE


def test_memory_and_work_are_counted(write):
    graph = read_graph(
        write(
            node("Conv", "image k3", "a", pads=[1] * 4),
            node("Relu", "a", "b"),
            node("Mul", "two two", "four"),
            node("Mul", "b four", "scores"),
            **K,
            two=np.float32([2]),
        )
    )
    pixels = 33 * 25
    found = cost(graph, IMAGE)
    assert found.memory == (5 + 5) * pixels  # an operation's input and its output
    assert found.constants == 1
    assert found.products == 5 * pixels * 3 * 9 + 32 * (3 * 5 * pixels + 1)


def test_the_bundled_network():
    try:
        graph = read_graph(bundled_model_path())
    except InputError as error:
        pytest.skip(str(error))
    for height, width in ((1, 1), (9, 17), (321, 513)):
        cells = (height + 6) // 8 + 1, (width + 6) // 8 + 1
        assert cost(graph, (1, 3, height, width)).scores == (1, 21, *cells)
    found, pixels = cost(graph, (1, 3, 513, 513)), 513 * 513
    assert found.memory / pixels == pytest.approx(128, rel=0.01)
    # VGG-16's 13 convolutions alone take 306,000 for a pixel, and a quarter of them have four times as many cells here.
    assert 500_000 < found.products / pixels < 700_000


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (node("Softmax", "image"), "Softmax"),
        (node("Conv", "image k3", strides=[0, 1]), "Conv"),
        (node("Conv", "image k3", group=2), "Conv"),
        (node("Reshape", "image image"), "sizes are"),
        (node("MatMul", "image image"), "matrices"),
        (node("Concat", "image k3", axis=0), "inputs differ"),
        (node("Pad", "image by"), "unknown|Pad"),
        (node("Resize", "image - - by", keep_aspect_ratio_policy="not_smaller"), "keep_aspect_ratio_policy"),
        (node("Relu", "nothing"), "'nothing'"),
        (node("Relu", "image", "image"), "two values"),
        (node("Relu", "image", "other"), "scores"),
    ],
)
def test_what_does_not_fit(write, operation, says):
    with pytest.raises(ShapeError, match=says):
        cost(read_graph(write(operation, **K, by=[[0, 0]])), IMAGE)

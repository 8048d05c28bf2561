import numpy as np
import onnxruntime
import pytest

onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")

from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from atrous.network._onnx_int8_layout import arrange


def network(rng, *, mean=True, after_scores=False):
    """A few layers as export_float writes them, with random weights."""
    weights = {
        "conv1_1": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "fc6": rng.normal(0, 0.2, (16, 8, 3, 3)),
        "fc8": rng.normal(0, 0.2, (5, 16, 1, 1)),
    }
    constants = [numpy_helper.from_array(w.astype(np.float32), f"{n}.weight") for n, w in weights.items()]
    constants += [
        numpy_helper.from_array(rng.normal(0, 1, len(w)).astype(np.float32), f"{n}.bias") for n, w in weights.items()
    ]
    pooling = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
    pool = "AveragePool" if mean else "MaxPool"
    nodes = [
        helper.make_node("Conv", ["image", "conv1_1.weight", "conv1_1.bias"], ["a"], name="c1", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], name="r1"),
        helper.make_node(pool, ["b"], ["c"], name="p", **pooling, **({"count_include_pad": 1} if mean else {})),
        helper.make_node("Conv", ["c", "fc6.weight", "fc6.bias"], ["d"], name="c6", pads=[4] * 4, dilations=[4, 4]),
        helper.make_node("Relu", ["d"], ["e"], name="r6"),
        helper.make_node("Conv", ["e", "fc8.weight", "fc8.bias"], ["f" if after_scores else "scores"], name="c8"),
    ]
    if after_scores:
        nodes.append(helper.make_node("Identity", ["f"], ["scores"], name="end"))
    faces = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", c, "h", "w"])]
        for n, c in (("image", 3), ("scores", 5))
    ]
    graph = helper.make_graph(nodes, "small", *faces, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def quantized(model, folder, blobs):
    class Reader(CalibrationDataReader):
        rest = iter(blobs)

        def get_next(self):
            blob = next(self.rest, None)
            return None if blob is None else {"image": blob}

    onnx.save(model, folder / "float.onnx")
    quantize_static(
        folder / "float.onnx",
        folder / "int8.onnx",
        Reader(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Relu", "MaxPool", "AveragePool"],
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=["c8"],
    )
    return onnx.load(folder / "int8.onnx")


def run(model, blob):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"image": blob})[0]


@pytest.fixture
def blob():
    return np.random.default_rng(1).uniform(-120, 140, (1, 3, 33, 40)).astype(np.float32)


def test_the_same_scores_from_other_nodes(tmp_path, blob):
    before = quantized(network(np.random.default_rng(0)), tmp_path, [blob])
    after = onnx.ModelProto()
    after.CopyFrom(before)
    arrange(after)
    onnx.checker.check_model(after, full_check=True)
    kinds = {node.op_type for node in after.graph.node}
    assert {"Pad", "MatMul"} <= kinds
    assert "AveragePool" not in kinds
    shapes = {tensor.name: tuple(tensor.dims) for tensor in after.graph.initializer}
    assert shapes["conv1_1.weight_quantized"] == (8, 4, 3, 3)
    assert "fc8.weight" not in shapes
    for width in (40, 17):
        expected = run(before, blob[..., :width])
        # 8-bit means may round the other way at a half.
        np.testing.assert_allclose(run(after, blob[..., :width]), expected, atol=0.02 * np.abs(expected).max())
        assert np.mean(np.abs(run(after, blob[..., :width]) - expected) < 1e-4) > 0.9


def test_what_a_network_lacks_is_left_out(tmp_path, blob):
    before = quantized(network(np.random.default_rng(0), mean=False, after_scores=True), tmp_path, [blob])
    after = onnx.ModelProto()
    after.CopyFrom(before)
    arrange(after)
    kinds = {node.op_type for node in after.graph.node}
    assert "Pad" in kinds
    assert "MatMul" not in kinds
    np.testing.assert_array_equal(run(after, blob), run(before, blob))


def test_a_float_network_stays_as_it_is():
    model = network(np.random.default_rng(0))
    before = model.SerializeToString(deterministic=True)
    arrange(model)
    assert model.SerializeToString(deterministic=True) == before

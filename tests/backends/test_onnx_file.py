"""An ONNX file's graph, read without the package onnx, is the one that onnx reads."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")
from onnx import TensorProto, helper, numpy_helper

from atrous.backends import bundled_model_path
from atrous.backends._onnx_file import FLOAT, read_graph
from atrous.data.metadata import METADATA_KEY
from atrous.errors import InputError


def saved(tmp_path, *tensors, nodes=()):
    faces = [helper.make_tensor_value_info(name, FLOAT, ["n", 3, None, 5]) for name in ("image", "scores")]
    graph = helper.make_graph(nodes, "graph", faces[:1], faces[1:], tensors)
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def test_the_bundled_graph_is_the_one_that_onnx_reads():
    try:
        path = bundled_model_path()
    except InputError as error:
        pytest.skip(str(error))
    ours, theirs = read_graph(path), onnx.load(path)
    assert ours.opset == theirs.opset_import[0].version
    assert ours.metadata == {p.key: p.value for p in theirs.metadata_props}[METADATA_KEY]
    assert [
        (n.op_type.decode(), [i.decode() for i in n.inputs], [o.decode() for o in n.outputs]) for n in ours.nodes
    ] == [(n.op_type, list(n.input), list(n.output)) for n in theirs.graph.node]
    assert [sorted(n.attributes()) for n in ours.nodes] == [
        sorted(a.name.encode() for a in n.attribute) for n in theirs.graph.node
    ]
    for tensor in theirs.graph.initializer:
        found = ours.tensors[tensor.name.encode()]
        assert (found.data_type, found.shape) == (tensor.data_type, tuple(tensor.dims))
        if found.values is not None:
            np.testing.assert_array_equal(found.values.reshape(found.shape), numpy_helper.to_array(tensor))
    assert len(ours.tensors) == len(theirs.graph.initializer)
    (image,), (scores,) = ours.inputs, ours.outputs
    assert (image.name, image.data_type, image.shape) == (b"image", FLOAT, [None, 3, None, None])
    assert (scores.name, scores.data_type, scores.shape) == (b"scores", FLOAT, [None, 21, None, None])


@pytest.mark.parametrize("dtype", ["f4", "f2", "f8", "u1", "i1", "i4", "i8", "?"])
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("shape", [(), (2, 3), (0,), (5000,)])
def test_numbers_of_every_type(tmp_path, dtype, raw, shape):
    values = np.random.default_rng(0).integers(-50 if dtype[0] in "if" else 0, 100, shape).astype(dtype)
    tensor = numpy_helper.from_array(values, "t")
    if not raw:
        tensor = helper.make_tensor("t", tensor.data_type, shape, values.ravel().tolist())
    path = saved(tmp_path, tensor)
    if dtype == "f2" and not raw and values.size == 5000:  # which nobody writes
        with pytest.raises(InputError, match="half precision"):
            read_graph(path)
        return
    found = read_graph(path).tensors[b"t"]
    assert found.shape == shape
    if dtype in ("f4", "f2", "f8", "i8") and 0 < values.size < 5000:
        assert found.values.dtype == values.dtype
        np.testing.assert_array_equal(found.values, values.ravel())
    if values.size == 5000:
        assert found.values is None


@pytest.mark.parametrize("dtype", ["f4", "f2", "f8"])
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_found_wherever_they_are(tmp_path, dtype, raw, bad):
    values = np.zeros(300_000 if raw else 3000, dtype)
    values[-7] = bad
    tensor = numpy_helper.from_array(values, "fc6.weight")
    if not raw:
        tensor = helper.make_tensor("fc6.weight", tensor.data_type, values.shape, values.tolist())
    with pytest.raises(InputError, match=r"'fc6\.weight' holds NaN or infinity"):
        read_graph(saved(tmp_path, tensor))


def test_settings_of_a_node(tmp_path):
    value = helper.make_tensor("v", TensorProto.INT64, [2], [3, -4])
    node = helper.make_node("Any", ["image"], ["scores"], whole=-5, pads=[1, 0, -2], word="ceil", value=value, real=0.5)
    found = read_graph(saved(tmp_path, nodes=[node])).nodes[0].attributes()
    assert found.pop(b"value").values.tolist() == [3, -4]
    assert found == {b"whole": -5, b"pads": [1, 0, -2], b"word": b"ceil", b"real": None}


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_graph(tmp_path)
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(InputError, match="2147483648 bytes"):
        read_graph(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\3\4archive/data.pkl", "PyTorch; .*atrous convert"),
        (b"\x80\2}q", "PyTorch"),
        ((30).to_bytes(8, "little") + b'{"fc6.weight": {}}', "safetensors"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x93NUMPY\1\0", "NumPy"),
    ],
)
def test_other_files_are_refused_as_what_they_are(tmp_path, content, says):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match=rf"model\.onnx: .*got .*{says}"):
        read_graph(tmp_path / "model.onnx")

"""A network of one convolution, for tests of everything around a network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atrous.data.metadata import METADATA_KEY, CrfParameters, ModelMetadata

TINY = ModelMetadata(
    variant="deeplab-largefov",
    classes=("background", "red", "blue"),
    palette=((0, 0, 0), (128, 0, 0), (0, 0, 128)),
    mean=(104.008, 116.669, 122.675),
    crf=CrfParameters(weight=4, sxy=60, srgb=5),
    training_list="none",
    training_list_sha256="0" * 64,
    precision="float32",
)


def write_tiny_model(path: Path, *, metadata: str | None, output: str = "scores") -> Path:
    """A network of one convolution with stride 8: background 0, red as red is above blue, and the reverse."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = np.zeros((3, 3, 1, 1), np.float32)
    weights[1, :, 0, 0] = -0.02, 0, 0.02  # the input is blue, green, red
    weights[2, :, 0, 0] = 0.02, 0, -0.02
    difference = TINY.mean[2] - TINY.mean[0]
    bias = np.array([2, 0.02 * difference, -0.02 * difference], np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w", "b"], [output], kernel_shape=[1, 1], strides=[8, 8])],
        "tiny",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", 3, "h", "w_"])],
        [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["n", 3, "hs", "ws"])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if metadata is not None:
        helper.set_model_props(model, {METADATA_KEY: metadata})
    onnx.save(model, str(path))
    return path


@pytest.fixture(scope="session")
def tiny_metadata() -> ModelMetadata:
    return replace(TINY)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx", metadata=TINY.to_json())


@pytest.fixture(scope="session")
def make_model():
    return write_tiny_model


@pytest.fixture
def red_square() -> np.ndarray:
    """Gray, with a red square in rows 16..47 and columns 24..71."""
    image = np.full((64, 96, 3), 128, np.uint8)
    image[16:48, 24:72] = 230, 20, 20
    return image

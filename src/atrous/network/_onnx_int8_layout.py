"""Layout of int8 ONNX graphs for the fast CPU kernels of ONNX Runtime. The results do not change."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

# MLAS convolves 8-bit images directly if the number of channels is a multiple of four. Otherwise it copies each pixel's
# patch first, which made conv1_1 three times as slow.
CHANNELS = 4


def arrange(model: onnx.ModelProto) -> None:
    """Rewrite a network quantized by `export_int8` in place.

    - The image gets a fourth channel of zeros, and the layers that read it get zero weights for that channel.
    - Average pooling becomes a depthwise convolution with weights of exactly 1 / size.
    - fc8, in float32 on 8-bit features, becomes a matrix product: the features are stored by pixel, and a convolution
      would transpose them twice.

    Parameters
    ----------
    model : onnx.ModelProto
        Graph with QuantizeLinear and DequantizeLinear nodes around the layers. Missing parts are skipped.
    """
    graph = _Graph(model.graph)
    _widen_image(graph)
    for node in [node for node in model.graph.node if node.op_type == "AveragePool"]:
        _convolve_mean(graph, node)
    for node in [node for node in model.graph.node if list(node.output) == ["scores"] and node.op_type == "Conv"]:
        _multiply_scores(graph, node)


class _Graph:
    """Graph with access to nodes and constants by name."""

    def __init__(self, proto: onnx.GraphProto) -> None:
        self.proto = proto

    def producer(self, value: str) -> onnx.NodeProto | None:
        return next((node for node in self.proto.node if value in node.output), None)

    def consumers(self, value: str) -> list[onnx.NodeProto]:
        return [node for node in self.proto.node if value in node.input]

    def constant(self, name: str) -> NDArray[np.generic] | None:
        found = next((tensor for tensor in self.proto.initializer if tensor.name == name), None)
        return None if found is None else numpy_helper.to_array(found)

    def set(self, name: str, value: NDArray[np.generic]) -> str:
        for tensor in [tensor for tensor in self.proto.initializer if tensor.name == name]:
            self.proto.initializer.remove(tensor)
        self.proto.initializer.append(numpy_helper.from_array(value, name))
        return name

    def replace(self, old: onnx.NodeProto, *new: onnx.NodeProto) -> None:
        place = list(self.proto.node).index(old)
        self.proto.node.remove(old)
        for step, node in enumerate(new):
            self.proto.node.insert(place + step, node)

    def quantized(self, value: str) -> tuple[str, NDArray[np.generic]] | None:
        """Return name and integers of the weights that DequantizeLinear converts to a value."""
        node = self.producer(value)
        if node is None or node.op_type != "DequantizeLinear":
            return None
        weights = self.constant(node.input[0])
        return None if weights is None else (node.input[0], weights)


def _widen_image(graph: _Graph) -> None:
    quantize = next((node for node in graph.consumers("image") if node.op_type == "QuantizeLinear"), None)
    if quantize is None or len(graph.consumers("image")) > 1:
        return
    (dequantize,) = graph.consumers(quantize.output[0])
    layers = graph.consumers(dequantize.output[0])
    weights = [graph.quantized(layer.input[1]) if layer.op_type == "Conv" else None for layer in layers]
    if any(entry is None for entry in weights):
        return
    for name, kernel in filter(None, weights):
        missing = np.zeros((kernel.shape[0], CHANNELS - kernel.shape[1], *kernel.shape[2:]), kernel.dtype)
        graph.set(name, np.concatenate([kernel, missing], axis=1))
    graph.set("fourth_channel", np.array([0, 0, 0, 0, 0, CHANNELS - 3, 0, 0], np.int64))
    pad = helper.make_node("Pad", ["image", "fourth_channel"], ["wide_image"], name="widen_image")
    quantize.input[0] = "wide_image"
    graph.replace(quantize, pad, quantize)


def _convolve_mean(graph: _Graph, pool: onnx.NodeProto) -> None:
    attributes = {a.name: helper.get_attribute_value(a) for a in pool.attribute}
    rows, columns = attributes["kernel_shape"]
    after = [n for q in graph.consumers(pool.output[0]) for d in graph.consumers(q.output[0]) for n in _users(graph, d)]
    weights = graph.quantized(after[0].input[1]) if after and after[0].op_type == "Conv" else None
    if weights is None or not attributes.get("count_include_pad"):
        return
    name, weight = pool.output[0], 64  # 7 bits, as for other weights
    kernel = np.full((weights[1].shape[1], 1, rows, columns), weight, np.int8)
    constants = (
        graph.set(f"{name}.weight_quantized", kernel),
        graph.set(f"{name}.weight_scale", np.array(1 / (weight * rows * columns), np.float32)),
        graph.set(f"{name}.weight_zero_point", np.array(0, np.int8)),
    )
    graph.replace(
        pool,
        helper.make_node("DequantizeLinear", constants, [f"{name}.weight"], name=f"{name}.weight_DequantizeLinear"),
        helper.make_node(
            "Conv",
            [pool.input[0], f"{name}.weight"],
            [name],
            name=pool.name,
            group=len(kernel),
            kernel_shape=[rows, columns],
            pads=attributes["pads"],
            strides=attributes["strides"],
        ),
    )


def _users(graph: _Graph, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    return [user for value in node.output for user in graph.consumers(value)]


def _multiply_scores(graph: _Graph, layer: onnx.NodeProto) -> None:
    before, weights = graph.producer(layer.input[0]), graph.constant(layer.input[1])
    if before is None or before.op_type != "DequantizeLinear" or weights is None or weights.shape[2:] != (1, 1):
        return
    matrix = graph.set("fc8.matrix", np.ascontiguousarray(weights[:, :, 0, 0].T))
    name, *bias = layer.input[1:]  # the quantizer omits a bias of zeros
    steps = [
        helper.make_node("Transpose", [layer.input[0]], ["features"], name="by_pixels", perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["features", matrix], ["products"], name="fc8"),
    ]
    if bias:
        steps.append(helper.make_node("Add", ["products", *bias], ["scores_by_pixels"], name="fc8_bias"))
    last = steps[-1].output[0]
    steps.append(helper.make_node("Transpose", [last], ["scores"], name="by_classes", perm=[0, 3, 1, 2]))
    graph.replace(layer, *steps)
    for tensor in [tensor for tensor in graph.proto.initializer if tensor.name == name]:
        graph.proto.initializer.remove(tensor)

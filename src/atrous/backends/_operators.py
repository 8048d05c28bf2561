"""Shapes of an exported network's operators, inferred from their inputs and attributes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._onnx_file import TYPES, Attribute, Node, Tensor, quoted

Shape = tuple[int, ...]

# Limits on known values and on dimensions. Exported graphs compute sizes with vectors of up to 8 numbers.
_MOST_CONTENT = 64
_MOST_AXES = 8

# Smaller float32 numbers are subnormal: they have fewer digits, and some processors flush them to 0.
_SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


class ShapeError(ValueError):
    """An operator is not supported, or its inputs do not match it."""


@dataclass
class Value:
    """A value in the graph.

    Attributes
    ----------
    shape : tuple of int
    content : array or None
        The values, if they are known, as those of sizes and scales are.
    constant : bool
        Whether the value is the same for all images.
    products : int
        Multiplications of the convolution that computes the value.
    """

    shape: Shape
    content: NDArray[Any] | None = None
    constant: bool = False
    products: int = 0

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def stored(tensor: Tensor) -> Value:
    """Return a constant of the file."""
    return Value(tensor.shape, None if tensor.values is None else tensor.values.reshape(tensor.shape), constant=True)


def infer(node: Node, values: dict[bytes, Value]) -> Value:
    """Return a node's output for known inputs.

    Raises
    ------
    ShapeError
        If its operator is not supported, or its inputs do not match it.
    """
    operator = _OPERATORS.get(node.op_type) if node.domain in (b"", b"ai.onnx") else None
    if operator is None:
        raise ShapeError(f"operator {quoted(node.domain + b':' + node.op_type)} is not supported")
    if len(node.outputs) != 1:
        raise ShapeError(f"operator {quoted(node.op_type)} has {len(node.outputs)} outputs; expected 1")
    if missing := [name for name in node.inputs if name and name not in values]:
        raise ShapeError(f"nothing computes {quoted(missing[0])} before it is used")
    inputs = [values[name] if name else None for name in node.inputs]
    try:
        output = operator(_Call(node, inputs))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ShapeError(f"{quoted(node.op_type)} cannot compute {quoted(node.outputs[0])} ({error!s:.100})") from None
    if len(output.shape) > _MOST_AXES or min(output.shape, default=0) < 0:
        raise ShapeError(f"{quoted(node.outputs[0])} has shape {output.shape!s:.60}")
    if output.content is not None and output.content.size > _MOST_CONTENT:
        output.content = None
    output.constant = all(value is None or value.constant for value in inputs)
    return output


class _Call:
    """Inputs and attributes of a node."""

    def __init__(self, node: Node, inputs: Sequence[Value | None]) -> None:
        self.node, self.inputs = node, inputs

    @cached_property
    def attributes(self) -> dict[bytes, Attribute]:
        return self.node.attributes()

    def input(self, place: int) -> Value:
        found = self.inputs[place]
        if found is None:
            raise ShapeError("an input is missing")
        return found

    def has(self, place: int) -> bool:
        return len(self.inputs) > place and self.inputs[place] is not None

    def sizes(self, place: int) -> list[int]:
        """Return the values of an input of sizes."""
        content = self.input(place).content
        if content is None or content.ndim > 1 or content.dtype.kind != "i":
            raise ShapeError("sizes are unknown")
        return [int(size) for size in content.reshape(-1)]

    def number(self, name: bytes, default: int) -> int:
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise ShapeError(f"{quoted(name)} is not a number")
        return value

    def numbers(self, name: bytes, default: Sequence[int]) -> list[int]:
        value = self.attributes.get(name, list(default))
        if not isinstance(value, list):
            raise ShapeError(f"{quoted(name)} are not numbers")
        return value


def _identity(call: _Call) -> Value:
    return Value(call.input(0).shape, call.input(0).content)


def _cast(call: _Call) -> Value:
    value, target = call.input(0), TYPES.get(call.number(b"to", 0))
    if value.content is None or target is None:
        return Value(value.shape)
    with np.errstate(under="ignore", over="ignore"):  # float16 rounds to 0 or to infinity
        return Value(value.shape, value.content.astype(target))


def _relu(call: _Call) -> Value:
    value = call.input(0)
    return Value(value.shape, None if value.content is None else np.maximum(value.content, 0))


def _quantize(call: _Call) -> Value:
    """QuantizeLinear and DequantizeLinear: x / scale and x * scale."""
    scale = call.input(1)
    if scale.content is None or not scale.content.min() >= _SMALLEST_SCALE:
        raise ShapeError("a scale is not positive")
    return Value(call.input(0).shape)


def _elementwise(call: _Call) -> Value:
    inputs = [call.input(place) for place in range(len(call.inputs))]
    shape = np.broadcast_shapes(*(value.shape for value in inputs))
    compute = _ARITHMETIC[call.node.op_type]
    contents = [value.content for value in inputs if value.content is not None]
    if len(contents) < len(inputs) or math.prod(shape) > _MOST_CONTENT:
        return Value(shape)
    content = contents[0]
    for other in contents[1:]:
        content = np.asarray(compute(content, other))
    return Value(shape, content)


def _divide(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    if not np.issubdtype(np.result_type(a, b), np.integer):
        return a / b
    # ONNX rounds integer quotients toward 0.
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))


def _conv(call: _Call) -> Value:
    image, kernel = call.input(0), call.input(1)
    channels, depth, *sides = kernel.shape
    group = call.number(b"group", 1)
    if group < 1 or channels % group or image.shape[1] != depth * group:
        raise ShapeError("the channels do not match the weights")
    if call.has(2) and call.input(2).shape != (channels,):
        raise ShapeError("the bias does not have one value for each channel")
    shape = (image.shape[0], channels, *_output_sides(call, image, sides))
    return Value(shape, products=math.prod(shape) * depth * math.prod(sides))


def _pool(call: _Call) -> Value:
    image = call.input(0)
    sides = call.numbers(b"kernel_shape", ())
    shape = (*image.shape[:2], *_output_sides(call, image, sides))
    return Value(shape, products=math.prod(shape) * math.prod(sides))


def _output_sides(call: _Call, image: Value, sides: Sequence[int]) -> list[int]:
    """Return the number of positions of a kernel along each side of the image."""
    axes = len(image.shape) - 2
    strides, dilations = (call.numbers(name, [1] * axes) for name in (b"strides", b"dilations"))
    pads = call.numbers(b"pads", [0] * 2 * axes)
    kernel = call.numbers(b"kernel_shape", sides)
    if axes != 2 or list(sides) != kernel or call.attributes.get(b"auto_pad", b"NOTSET") != b"NOTSET":
        raise ShapeError("kernel_shape or auto_pad is not supported")
    if not [len(strides), len(dilations), len(pads), len(sides)] == [axes, axes, 2 * axes, axes]:
        raise ShapeError("an attribute does not have one value for each side")
    if min(*strides, *dilations, *sides) < 1 or min(pads) < 0:
        raise ShapeError("strides, dilations and kernel_shape must be at least 1, pads at least 0")
    found = []
    for axis, length in enumerate(image.shape[2:]):
        span = length + pads[axis] + pads[axis + axes] - dilations[axis] * (sides[axis] - 1) - 1
        places = span // strides[axis] + 1
        # Ceil mode adds a position unless it would start beyond the edge.
        if call.number(b"ceil_mode", 0) and span % strides[axis] and places * strides[axis] < length + pads[axis]:
            places += 1
        found.append(places)
    return found


def _matmul(call: _Call) -> Value:
    a, b = call.input(0).shape, call.input(1).shape
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise ShapeError("the matrices' shapes do not match")
    shape = (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])
    return Value(shape, products=math.prod(shape) * a[-1])


def _shape(call: _Call) -> Value:
    shape = call.input(0).shape
    content = np.array(shape[call.number(b"start", 0) : call.number(b"end", len(shape))], np.int64)
    return Value(content.shape, content)


def _constant(call: _Call) -> Value:
    for value in call.attributes.values():
        if isinstance(value, Tensor):
            return stored(value)
        content = np.array(value, np.int64)
        return Value(content.shape, content)
    raise ShapeError("it has no value")


def _concat(call: _Call) -> Value:
    inputs = [call.input(place) for place in range(len(call.inputs))]
    axis = call.number(b"axis", 0)
    shape = list(inputs[0].shape)
    for value in inputs[1:]:
        others = list(value.shape)
        shape[axis] += others[axis]
        others[axis] = shape[axis]
        if others != shape:
            raise ShapeError("the inputs differ in other dimensions")
    contents = [value.content for value in inputs if value.content is not None]
    known = len(contents) == len(inputs) and math.prod(shape) <= _MOST_CONTENT
    return Value(tuple(shape), np.concatenate(contents, axis) if known else None)


def _slice(call: _Call) -> Value:
    value, starts, ends = call.input(0), call.sizes(1), call.sizes(2)
    axes = call.sizes(3) if call.has(3) else list(range(len(starts)))
    steps = call.sizes(4) if call.has(4) else [1] * len(starts)
    shape, where = list(value.shape), [slice(None)] * len(value.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            raise ShapeError("steps are not positive")
        where[axis] = slice(start, end, step)
        shape[axis] = len(range(*where[axis].indices(shape[axis])))
    return Value(tuple(shape), None if value.content is None else value.content[tuple(where)])


def _reshape(call: _Call) -> Value:
    value, shape = call.input(0), call.sizes(1)
    if not call.number(b"allowzero", 0):
        shape = [value.shape[axis] if side == 0 else side for axis, side in enumerate(shape)]
    return _in_shape(value, shape)


def _squeeze(call: _Call) -> Value:
    value = call.input(0)
    axes = call.sizes(1) if call.has(1) else [axis for axis, side in enumerate(value.shape) if side == 1]
    axes = [range(len(value.shape))[axis] for axis in axes]
    return _in_shape(value, [side for axis, side in enumerate(value.shape) if axis not in axes])


def _unsqueeze(call: _Call) -> Value:
    value = call.input(0)
    axes = {range(len(value.shape) + len(call.sizes(1)))[axis] for axis in call.sizes(1)}
    sides = iter(value.shape)
    return _in_shape(value, [1 if axis in axes else next(sides) for axis in range(len(value.shape) + len(axes))])


def _in_shape(value: Value, shape: list[int]) -> Value:
    known = math.prod(side for side in shape if side != -1)
    if shape.count(-1) == 1 and known:
        shape = [value.count // known if side == -1 else side for side in shape]
    if math.prod(shape) != value.count:
        raise ShapeError("the sizes differ")
    return Value(tuple(shape), None if value.content is None else value.content.reshape(shape))


def _transpose(call: _Call) -> Value:
    shape = call.input(0).shape
    order = call.numbers(b"perm", range(len(shape))[::-1])
    if sorted(order) != list(range(len(shape))):
        raise ShapeError("perm is not a permutation")
    return Value(tuple(shape[axis] for axis in order))


def _pad(call: _Call) -> Value:
    value, pads = call.input(0), call.sizes(1)
    axes = call.sizes(3) if call.has(3) else list(range(len(value.shape)))
    shape = list(value.shape)
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        shape[axis] += before + after
    return Value(tuple(shape))


def _resize(call: _Call) -> Value:
    shape = call.input(0).shape
    if b"axes" in call.attributes or call.attributes.get(b"keep_aspect_ratio_policy", b"stretch") != b"stretch":
        raise ShapeError("axes and keep_aspect_ratio_policy are not supported")
    if call.has(3):
        sizes = call.sizes(3)
    else:
        scales = call.input(2).content
        sizes = [] if scales is None else np.floor(np.multiply(shape, scales)).astype(np.int64).tolist()
    if len(sizes) != len(shape):
        raise ShapeError("sizes are unknown")
    return Value(tuple(sizes))


def _gather(call: _Call) -> Value:
    content, places = call.input(0).content, call.input(1).content
    if content is None or places is None or places.dtype.kind != "i":
        raise ShapeError("sizes are unknown")
    content = np.asarray(content.take(places, call.number(b"axis", 0)))
    return Value(content.shape, content)


_ARITHMETIC: dict[bytes, Callable[[NDArray[Any], NDArray[Any]], Any]] = {
    b"Add": np.add,
    b"Sub": np.subtract,
    b"Mul": np.multiply,
    b"Div": _divide,
    b"Min": np.minimum,
    b"Max": np.maximum,
}

# Operators of exported networks: float32, float16 and int8, with and without MSc, from several versions of exporters.
_OPERATORS: dict[bytes, Callable[[_Call], Value]] = {
    b"AveragePool": _pool,
    b"Cast": _cast,
    b"Concat": _concat,
    b"Constant": _constant,
    b"Conv": _conv,
    b"DequantizeLinear": _quantize,
    b"Gather": _gather,
    b"Identity": _identity,
    b"MatMul": _matmul,
    b"MaxPool": _pool,
    b"Pad": _pad,
    b"QuantizeLinear": _quantize,
    b"Relu": _relu,
    b"Reshape": _reshape,
    b"Resize": _resize,
    b"Shape": _shape,
    b"Slice": _slice,
    b"Squeeze": _squeeze,
    b"Transpose": _transpose,
    b"Unsqueeze": _unsqueeze,
    **dict.fromkeys(_ARITHMETIC, _elementwise),
}

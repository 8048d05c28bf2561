"""Memory and work of an exported network for an image of given size, before it runs.

Only the operators of `_operators` are supported. None of them runs a subgraph, contains a loop or reads a file.
"""

from dataclasses import dataclass

import numpy as np

from ._onnx_file import Graph, quoted
from ._operators import Shape, ShapeError, Value, infer, stored

# Reading and writing a value takes about as long as this many multiplications of a convolution.
_PRODUCTS = 32


@dataclass(frozen=True)
class Cost:
    """Memory and work of a network for one image.

    Attributes
    ----------
    scores : tuple of int
        Shape of the scores.
    memory : int
        Peak number of elements in memory, without constants.
    products : int
        Multiplications of all convolutions. Each element that an operator writes counts as 32.
    constants : int
        Elements that are computed from the weights alone.
    """

    scores: Shape
    memory: int
    products: int
    constants: int


@np.errstate(all="raise")
def cost(graph: Graph, image: Shape) -> Cost:
    """Infer the shapes of all values for an image of shape (1, 3, H, W), and sum memory and work.

    Raises
    ------
    ShapeError
        If an operator is not supported, or its inputs do not match it.
    """
    values = {name: stored(tensor) for name, tensor in graph.tensors.items()}
    values[b"image"] = Value(image)
    last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    products = constants = 0
    memory = peak = values[b"image"].count
    for i, node in enumerate(graph.nodes):
        made = infer(node, values)
        (name,) = node.outputs
        if name in values:
            raise ShapeError(f"two values have the name {quoted(name)}")
        values[name] = made
        products += made.products + _PRODUCTS * made.count
        if made.constant:
            constants += made.count
            continue
        memory += made.count
        peak = max(peak, memory)
        done = {used for used in node.inputs if last_use[used] == i}
        memory -= sum(values[used].count for used in done if used and not values[used].constant)
    if b"scores" not in values or values[b"scores"].constant:
        raise ShapeError("nothing computes scores from the image")
    return Cost(values[b"scores"].shape, peak, products, constants)

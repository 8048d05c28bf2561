"""How large a network's numbers get."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from .torch_backend import TorchEngine


def largest_activation(engine: TorchEngine, images: Iterable[NDArray[np.uint8]]) -> float:
    """Return the largest absolute value that enters or leaves a layer of a network: half precision ends at 65,504.

    ONNX Runtime widens half precision on the CPU, so that an overflow would first be seen on a GPU.

    Parameters
    ----------
    engine : TorchEngine
    images : iterable of (H, W, 3) uint8
        RGB.
    """
    largest = 0.0

    def watch(_: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal largest
        largest = max(largest, *(float(tensor.abs().max()) for tensor in (*given, result)))

    hooks = [layer.register_forward_hook(watch) for layer in engine.net.modules() if isinstance(layer, nn.Conv2d)]
    try:
        for image in images:
            engine.scores(image)
    finally:
        for hook in hooks:
            hook.remove()
    return largest

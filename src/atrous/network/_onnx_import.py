"""Reader of weights and metadata of an exported network, with dequantization."""

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.metadata import METADATA_KEY, ModelMetadata
from ..data.transforms import MEAN_BGR
from ..errors import InputError, MissingExtra

# An ONNX file starts with field 1, a number (ir_version). Field 1 of a Caffe model is a string.
FIRST_BYTE = b"\x08"

# Name of the module that wraps the network in half-precision exports.
_LAYER = re.compile(r"(?:net\.)?((?:conv\d_\d|fc\d|branches\..+)\.(?:weight|bias))")


def read_exported(path: Path) -> tuple[dict[str, Tensor], ModelMetadata]:
    """Read a file of `atrous export` and return the network's parameters.

    Returns
    -------
    tensors : dict of str to Tensor
        float32, by parameter names of `DeepLab`. Weights of an int8 network are (q - zero point) * scale.
    metadata : ModelMetadata

    Raises
    ------
    InputError
        If the file is not an ONNX model of `atrous export`.
    MissingExtra
        If `onnx` is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingExtra.of(
            f"{error.name} is not installed, but reading an exported network needs it", "train"
        ) from None
    try:
        model = onnx.load(path, load_external_data=False)
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    except (DecodeError, ValueError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: expected an ONNX model ({reason}); fetch or export it again") from None
    metadata = _metadata({entry.key: entry.value for entry in model.metadata_props}, path)
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and all(name in constants for name in node.input):
            name = node.input[0].removesuffix("_quantized")
            constants[name] = _dequantized(*(constants[name] for name in node.input))
    parameters = {match[1]: array for name, array in constants.items() if (match := _LAYER.fullmatch(name))}
    _undo_int8_layout(parameters, constants)
    for name in [name for name in parameters if name.endswith(".weight")]:
        # The quantizer omits biases of zeros.
        parameters.setdefault(name.replace(".weight", ".bias"), np.zeros(len(parameters[name]), np.float32))
    return {name: torch.tensor(array, dtype=torch.float32) for name, array in parameters.items()}, metadata


def _metadata(entries: dict[str, str], path: Path) -> ModelMetadata:
    if METADATA_KEY not in entries:
        raise InputError(f"{path}: expected an ONNX model of atrous export, got one without its metadata")
    metadata = ModelMetadata.from_json(entries[METADATA_KEY], str(path))
    if metadata.color_order != "BGR" or metadata.mean != MEAN_BGR:
        raise InputError(
            f"{path}: expected input of BGR minus {MEAN_BGR}, got {metadata.color_order} minus {metadata.mean}"
        )
    return metadata


def _dequantized(
    values: NDArray[np.generic], scale: NDArray[np.generic], zero_point: NDArray[np.generic]
) -> NDArray[np.float32]:
    """Return (q - zero point) * scale, with one scale or one per output channel."""
    axes = (-1, *(1,) * (values.ndim - 1)) if scale.ndim else ()
    shifted = values.astype(np.float32) - zero_point.astype(np.float32).reshape(axes)
    return shifted * scale.astype(np.float32).reshape(axes)


def _undo_int8_layout(parameters: dict[str, NDArray[np.float32]], constants: dict[str, NDArray[np.float32]]) -> None:
    """Undo the changes of `_onnx_int8_layout.arrange` to the shapes of weights."""
    for name, array in parameters.items():
        reads_image = name in ("conv1_1.weight", "branches.image.layer1.weight")
        if reads_image and array.ndim == 4 and array.shape[1] > 3:
            parameters[name] = array[:, :3]
    if "fc8.matrix" in constants:
        parameters["fc8.weight"] = constants["fc8.matrix"].T[:, :, None, None]

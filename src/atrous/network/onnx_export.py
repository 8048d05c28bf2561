"""From a trained network to the one file that the engine runs."""

import copy
import dataclasses
import logging
import os
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .._io import replacing
from .._quiet_imports import import_compiler, import_onnxruntime
from ..data.metadata import METADATA_KEY, ModelMetadata
from ..data.transforms import network_input
from ..errors import InputError, MissingExtra
from .deeplab import DeepLab
from .torch_backend import TorchEngine

try:
    import_onnxruntime()  # before onnxscript, which imports it too
    import onnx
    import onnxscript  # noqa: F401  # PyTorch's exporter asks for it when it runs
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from ._onnx_int8_layout import arrange
except ImportError as error:
    raise MissingExtra(
        f"{error.name} is not installed: exporting needs the extra, pip install 'atrous[train]'"
    ) from None

OPSET = 18


def export_float(net: DeepLab, path: str | os.PathLike[str], metadata: ModelMetadata) -> None:
    """Write a float32 ONNX file: input "image" (N, 3, H, W), output "scores" (N, C, h, w), any size.

    Parameters
    ----------
    net : DeepLab
        Its dropout is left out; it stays as it is and where it is.
    path : path
        Replaced whole.
    metadata : ModelMetadata
        Stored in the file, with the precision.
    """
    _export(copy.deepcopy(net).cpu().eval(), path, metadata, "float32")


def export_float16(net: DeepLab, path: str | os.PathLike[str], metadata: ModelMetadata) -> None:
    """Write an ONNX file of half the size, which computes in half precision; input and output stay float32.

    GPUs compute so. On the CPU ONNX Runtime widens the weights when it loads the file and computes in float32.

    Parameters
    ----------
    net, path, metadata
        As in `export_float`.
    """
    _export(_Half(net).cpu().eval(), path, metadata, "float16")


def export_int8(
    net: DeepLab,
    path: str | os.PathLike[str],
    metadata: ModelMetadata,
    calibration: Sequence[NDArray[np.uint8]],
) -> None:
    """Write an int8 ONNX file: weights per output channel, activations per tensor, both static.

    Weights take 7 of the 8 bits, so that processors without VNNI instructions, which add two products in
    16 bits, cannot overflow: the same file gives the same masks everywhere. The last layer, fc8, stays in
    float32, as its scores are what the CRF reads; those of the branches of multi-scale prediction, which only
    add to them, do not: at the image's size that would double the time and the memory.

    Parameters
    ----------
    net, path, metadata
        As in `export_float`.
    calibration : sequence of (H, W, 3) uint8
        Photos (RGB) on which the ranges of the activations are observed.

    Raises
    ------
    InputError
        If there are no photos.
    """
    if not len(calibration):
        raise InputError("calibration: expected photos for the ranges of the activations, got none")
    with tempfile.TemporaryDirectory() as folder, _Quiet():
        plain, ready, quantized = (Path(folder) / f"{n}.onnx" for n in ("float", "ready", "int8"))
        export_float(net, plain, metadata)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        (last,) = [node.name for node in onnx.load(ready).graph.node if "fc8.weight" in node.input]
        quantize_static(
            ready,
            quantized,
            _Calibration(calibration, metadata),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Relu", "MaxPool", "AveragePool"],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[last],
            calibrate_method=CalibrationMethod.MinMax,
        )
        model = onnx.load(quantized)
        arrange(model)
        _write(model, path, dataclasses.replace(metadata, precision="int8"))


class _Half(nn.Module):
    """A copy of a network in half precision, between float32."""

    def __init__(self, net: DeepLab) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).half()

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.net(image.half())
        return scores.float()


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """The photos as the network sees them, one at a time."""

    def __init__(self, images: Iterable[NDArray[np.uint8]], metadata: ModelMetadata) -> None:
        self.images = iter(images)
        self.mean, self.color_order = metadata.mean, metadata.color_order

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        image = next(self.images, None)
        return None if image is None else {"image": network_input(image, self.mean, self.color_order)[None]}


def _export(
    net: nn.Module, path: str | os.PathLike[str], metadata: ModelMetadata, precision: Literal["float32", "float16"]
) -> None:
    import_compiler()
    dynamic = torch.export.Dim.DYNAMIC
    with tempfile.TemporaryDirectory() as folder, _Quiet():
        plain = Path(folder) / "plain.onnx"
        torch.onnx.export(
            net,
            (torch.zeros(1, 3, 97, 129),),
            plain,
            input_names=["image"],
            output_names=["scores"],
            dynamic_shapes={"image": {0: dynamic, 2: dynamic, 3: dynamic}},
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
        _write(onnx.load(plain), path, dataclasses.replace(metadata, precision=precision))


def _write(model: onnx.ModelProto, path: str | os.PathLike[str], metadata: ModelMetadata) -> None:
    # The exporter's notes on every value name source files of the machine it ran on.
    for thing in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del thing.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    del model.metadata_props[:]
    model.producer_name = "atrous"
    model.graph.doc_string = ""
    onnx.helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
    with replacing(path) as temporary:
        onnx.save(model, temporary)


class _Quiet:
    """Keeps the exporters' advice to their own developers off the user's screen."""

    def __enter__(self) -> None:
        # PyTorch's logger has a level of its own.
        self.levels = {logger: logger.level for logger in (logging.root, logging.getLogger("torch"))}
        for logger in self.levels:
            logger.setLevel(logging.ERROR)
        self.warnings = warnings.catch_warnings()
        self.warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        self.warnings.__exit__(None, None, None)
        for logger, level in self.levels.items():
            logger.setLevel(level)


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

"""Export of a trained network to one ONNX file."""

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
    import_onnxruntime()  # before onnxscript imports it
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
    raise MissingExtra.of(f"{error.name} is not installed, but exporting needs it", "train") from None

OPSET = 18


def export_float(net: DeepLab, path: str | os.PathLike[str], metadata: ModelMetadata) -> None:
    """Write a float32 ONNX file: input "image" (N, 3, H, W), output "scores" (N, C, h, w), any size.

    Parameters
    ----------
    net : DeepLab
        The network, which is not changed. Its dropout is omitted.
    path : path
        An existing file is replaced atomically.
    metadata : ModelMetadata
        Stored in the file, with the precision.
    """
    _export(copy.deepcopy(net).cpu().eval(), path, metadata, "float32")


def export_float16(net: DeepLab, path: str | os.PathLike[str], metadata: ModelMetadata) -> None:
    """Write a half-precision ONNX file of half the size, with float32 input and output.

    GPUs compute in half precision. On the CPU, ONNX Runtime converts the weights to float32 when it loads the file.

    Parameters
    ----------
    net, path, metadata
        See `export_float`.
    """
    _export(_Half(net).cpu().eval(), path, metadata, "float16")


def export_int8(
    net: DeepLab,
    path: str | os.PathLike[str],
    metadata: ModelMetadata,
    calibration: Sequence[NDArray[np.uint8]],
) -> None:
    """Write an int8 ONNX file with static quantization: weights per output channel, activations per tensor.

    Weights use 7 of the 8 bits, so that processors without VNNI instructions, which add two products in 16 bits, do not
    overflow: the same file gives the same masks on all processors. The last layer, fc8, stays in float32, because the
    CRF reads its scores. The last layers of the branches of multi-scale prediction are quantized, because float32 at
    the image's size would double time and memory.

    Parameters
    ----------
    net, path, metadata
        See `export_float`.
    calibration : sequence of (H, W, 3) uint8
        RGB images on which the ranges of the activations are measured.

    Raises
    ------
    InputError
        If there are no images.
    """
    if not len(calibration):
        raise InputError("calibration: expected images for the ranges of the activations, got none")
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
    """Copy of a network in half precision, with float32 input and output."""

    def __init__(self, net: DeepLab) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).half()

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.net(image.half())
        return scores.float()


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Iterator over the network inputs of the calibration images."""

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
    # The exporter's annotations of values contain paths of source files on this machine.
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
    """Context that suppresses the exporters' messages for developers."""

    def __enter__(self) -> None:
        # PyTorch's logger has its own level.
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
    """Return the largest absolute input or output of a network's layers. The limit of half precision is 65,504.

    On the CPU, ONNX Runtime computes in float32, so that an overflow would occur on GPUs only.

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

"""Running an exported network on ONNX Runtime or OpenVINO: no PyTorch."""

from ._load import ENGINES, exported_engine
from .base import Engine, ExportedEngine, bundled_model_path
from .onnxruntime import OnnxEngine
from .openvino import OpenVinoEngine

__all__ = [
    "ENGINES",
    "Engine",
    "ExportedEngine",
    "OnnxEngine",
    "OpenVinoEngine",
    "bundled_model_path",
    "exported_engine",
]

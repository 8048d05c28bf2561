"""Running an exported network on ONNX Runtime or OpenVINO: no PyTorch."""

from .choice import ENGINES, exported_engine
from .exported import Engine, ExportedEngine, bundled_model_path
from .onnx import OnnxEngine
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

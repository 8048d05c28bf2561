"""Running an exported network on ONNX Runtime: no PyTorch."""

from .onnx import Engine, OnnxEngine, bundled_model_path

__all__ = ["Engine", "OnnxEngine", "bundled_model_path"]

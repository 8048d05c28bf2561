"""Exported files on OpenVINO say what they say on ONNX Runtime."""

from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("onnxscript", reason="needs the extra 'train'")
if find_spec("openvino") is None:
    pytest.skip("openvino is not installed: pip install 'atrous[openvino]'", allow_module_level=True)

from atrous.backends import OnnxEngine, OpenVinoEngine
from atrous.network.onnx_export import export_float, export_float16, export_int8
from atrous.network.torch_backend import TorchEngine

SLOW = pytest.mark.slow


@pytest.mark.parametrize("multiscale", [False, pytest.param(True, marks=SLOW)], ids=["plain", "msc"])
@pytest.mark.parametrize(
    ("precision", "off"),
    [("float32", 1e-5), pytest.param("float16", 0.01, marks=SLOW), pytest.param("int8", 0.1, marks=SLOW)],
)
def test_the_same_scores(narrow, write_checkpoint, photo, tmp_path, precision, off, multiscale):
    ours = TorchEngine.read(write_checkpoint(recipe={"multiscale": multiscale}))
    path = tmp_path / "model.onnx"
    if precision == "int8":
        export_int8(ours.net, path, ours.metadata, [photo])
    else:
        (export_float if precision == "float32" else export_float16)(ours.net, path, ours.metadata)
    theirs, expected = OpenVinoEngine(path), OnnxEngine(path)
    assert theirs.metadata == expected.metadata
    assert theirs.metadata.precision == precision
    for image in (photo, photo[:40], photo[:1, :1], np.tile(photo, (1, 3, 1)), photo):
        scores, there = expected.scores(image), theirs.scores(image)
        assert (there.shape, there.dtype) == (scores.shape, np.float32)
        assert np.linalg.norm(there - scores) <= off * np.linalg.norm(scores) + 1e-6

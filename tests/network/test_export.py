import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("onnxscript", reason="needs the extra 'train'")

from atrous.engine import OnnxEngine
from atrous.network.engine import TorchEngine
from atrous.network.export import export_float, export_int8
from atrous.segmenter import Segmenter


@pytest.mark.parametrize("multiscale", [False, True], ids=["plain", "msc"])
def test_the_float_export_agrees_with_pytorch_at_any_size(narrow, write_checkpoint, photo, tmp_path, multiscale):
    ours = TorchEngine.read(write_checkpoint(recipe={"multiscale": multiscale}))
    path = tmp_path / "float.onnx"
    export_float(ours.net, path, ours.metadata)
    theirs = OnnxEngine(path, threads=1)
    assert theirs.metadata == ours.metadata
    wide = np.tile(photo, (1, 3, 1))
    for image in (photo, photo[:40], photo[:1, :1], wide):
        scores = ours.scores(image)
        np.testing.assert_allclose(theirs.scores(image), scores, atol=1e-5 * abs(scores).max() + 1e-6)
    probabilities = Segmenter(theirs).probabilities(wide)
    assert probabilities.shape == (3, 72, 288)
    np.testing.assert_allclose(probabilities, Segmenter(ours).probabilities(wide), atol=1e-3)
    # the exporter's notes on the machine it ran on are not shipped
    assert str(tmp_path.parent).encode() not in path.read_bytes()
    assert b"deeplab.py" not in path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("multiscale", [False, True], ids=["plain", "msc"])
def test_the_int8_export_is_a_quarter_and_close(write_checkpoint, photo, tmp_path, multiscale):
    folder = write_checkpoint(recipe={"multiscale": multiscale})
    ours = TorchEngine.read(folder)
    metadata = dataclasses.replace(ours.metadata, precision="int8")
    export_int8(ours.net, tmp_path / "int8.onnx", metadata, [photo, photo[::-1], photo[:, ::-1]])
    engine = OnnxEngine(tmp_path / "int8.onnx")
    assert engine.metadata == metadata
    assert (tmp_path / "int8.onnx").stat().st_size < 0.27 * (folder / "model.safetensors").stat().st_size
    scores, exact = engine.scores(photo), ours.scores(photo)
    assert np.linalg.norm(scores - exact) < 0.1 * np.linalg.norm(exact)

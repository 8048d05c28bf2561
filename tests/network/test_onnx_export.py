from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("onnxscript", reason="needs the extra 'train'")

from atrous.backends import OnnxEngine
from atrous.errors import InputError
from atrous.network.deeplab import DeepLab
from atrous.network.onnx_export import OPSET, export_float, export_float16, export_int8
from atrous.network.torch_backend import TorchEngine
from atrous.segmenter import Segmenter


@pytest.mark.parametrize("multiscale", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["plain", "msc"])
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
    model = pytest.importorskip("onnx").load(path)
    pytest.importorskip("onnx").checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert OPSET >= 17
    # the exporter's notes on the machine it ran on are not shipped
    assert str(tmp_path.parent).encode() not in path.read_bytes()
    assert b"deeplab.py" not in path.read_bytes()

    # a caller without our padding may give several images of any size
    blobs = torch.from_numpy(np.random.default_rng(1).normal(0, 50, (2, 3, 50, 83)).astype(np.float32))
    with torch.inference_mode():
        expected = ours.net(blobs).numpy()
    (got,) = theirs._session.run(["scores"], {"image": blobs.numpy()})
    np.testing.assert_allclose(got, expected, atol=1e-5 * abs(expected).max() + 1e-6)


@pytest.mark.slow
def test_a_float16_file_is_sound_and_the_network_stays_as_it_was(narrow, write_checkpoint, photo, tmp_path):
    onnx = pytest.importorskip("onnx")
    ours = TorchEngine.read(write_checkpoint())
    ours.net.train()
    export_float16(ours.net, tmp_path / "half.onnx", ours.metadata)
    assert ours.net.training
    ours.net.eval()
    assert {p.dtype for p in ours.net.parameters()} == {torch.float32}
    model = onnx.load(tmp_path / "half.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {w.data_type for w in model.graph.initializer if w.dims} == {onnx.TensorProto.FLOAT16}
    agrees_in_half(ours, OnnxEngine(tmp_path / "half.onnx", threads=1), photo)


@pytest.mark.slow
def test_float16_of_multiscale_agrees(narrow, write_checkpoint, photo, tmp_path):
    ours = TorchEngine.read(write_checkpoint(recipe={"multiscale": True}))
    export_float16(ours.net, tmp_path / "half.onnx", ours.metadata)
    agrees_in_half(ours, OnnxEngine(tmp_path / "half.onnx", threads=1), photo)


def agrees_in_half(ours, theirs, photo):
    assert theirs.metadata == replace(ours.metadata, precision="float16")
    for image in (photo, photo[20:60, 30:63]):
        expected, got = ours.scores(image), theirs.scores(image)
        assert got.dtype == np.float32
        assert 0 < abs(got - expected).max() < 0.01 * abs(expected).max()


@pytest.mark.slow
def test_calibration_sees_what_the_network_will_see(narrow, write_checkpoint, tiny_metadata, photo, tmp_path):
    net = TorchEngine.read(write_checkpoint()).net
    gray = replace(tiny_metadata, mean=(0.0, 0.0, 0.0), color_order="RGB")
    ours = TorchEngine(net, gray)
    export_int8(net, tmp_path / "int8.onnx", gray, [photo])
    theirs = OnnxEngine(tmp_path / "int8.onnx", threads=1)
    assert theirs.metadata == replace(gray, precision="int8")
    # ranges of photos less the usual mean would cut these off
    expected = ours.scores(photo)
    assert np.linalg.norm(theirs.scores(photo) - expected) < 0.15 * np.linalg.norm(expected)


def test_int8_needs_photos(narrow, tiny_metadata, tmp_path):
    with pytest.raises(InputError, match="expected images"):
        export_int8(DeepLab(classes=3), tmp_path / "none.onnx", tiny_metadata, [])


def test_the_largest_activation(narrow, write_checkpoint, photo):
    from atrous.network.onnx_export import largest_activation

    engine = TorchEngine.read(write_checkpoint())
    one = largest_activation(engine, [photo])
    assert one >= abs(engine.scores(photo)).max()
    with torch.no_grad():
        engine.net.fc8.weight.mul_(0)
        engine.net.fc8.bias.fill_(1e6)
    assert largest_activation(engine, [photo]) == pytest.approx(1e6)
    assert not any(layer._forward_hooks for layer in engine.net.modules())


@pytest.mark.slow
@pytest.mark.parametrize("multiscale", [False, True], ids=["plain", "msc"])
def test_the_int8_export_is_a_quarter_and_close(write_checkpoint, photo, tmp_path, multiscale):
    folder = write_checkpoint(recipe={"multiscale": multiscale})
    ours = TorchEngine.read(folder)
    metadata = replace(ours.metadata, precision="int8")
    export_int8(ours.net, tmp_path / "int8.onnx", ours.metadata, [photo, photo[::-1], photo[:, ::-1]])
    engine = OnnxEngine(tmp_path / "int8.onnx")
    assert engine.metadata == metadata
    assert (tmp_path / "int8.onnx").stat().st_size < 0.27 * (folder / "model.safetensors").stat().st_size
    scores, exact = engine.scores(photo), ours.scores(photo)
    assert np.linalg.norm(scores - exact) < 0.1 * np.linalg.norm(exact)

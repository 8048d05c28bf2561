import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
pytest.importorskip("onnxscript", reason="needs the extra 'train'")

from safetensors.torch import save_file

from atrous.engine import OnnxEngine
from atrous.errors import InputError
from atrous.network.deeplab import DeepLab, initialise_head
from atrous.network.engine import TorchEngine
from atrous.network.export import export_float, export_int8
from atrous.training.checkpoint import TrainingState
from atrous.training.recipe import Recipe


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network of three classes with random weights that keep the size of the activations."""
    torch.manual_seed(0)
    net = DeepLab(classes=3)
    initialise_head(net)
    for name, parameter in net.named_parameters():
        if name.endswith("weight") and name.startswith("conv"):
            torch.nn.init.kaiming_normal_(parameter)
    folder = tmp_path_factory.mktemp("run") / "checkpoint-000007"
    folder.mkdir()
    save_file(net.state_dict(), folder / "model.safetensors")
    state = TrainingState(7, Recipe(), ("background", "cat", "dog"), "train", "0" * 64, {})
    (folder / "state.json").write_text(state.to_json())
    return folder


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))


def test_a_checkpoint_becomes_an_engine(checkpoint, photo):
    engine = TorchEngine.read(checkpoint)
    assert engine.metadata.variant == "deeplab-largefov"
    assert engine.metadata.classes == ("background", "cat", "dog")
    assert engine.metadata.palette[2] == (0, 128, 0)
    assert engine.scores(photo).shape == (3, 13, 13)  # 72x96 is padded to 97x97


def test_the_float_export_agrees_with_pytorch_at_any_size(checkpoint, photo, tmp_path):
    ours = TorchEngine.read(checkpoint)
    path = tmp_path / "float.onnx"
    export_float(ours.net, path, ours.metadata)
    theirs = OnnxEngine(path, threads=1)
    assert theirs.metadata == ours.metadata
    for image in (photo, photo[:40], photo[:1, :1]):
        scores = ours.scores(image)
        np.testing.assert_allclose(theirs.scores(image), scores, atol=1e-4 * abs(scores).max() + 1e-6)
    # the exporter's notes on the machine it ran on are not shipped
    assert str(tmp_path.parent).encode() not in path.read_bytes()
    assert b"deeplab.py" not in path.read_bytes()


@pytest.mark.slow
def test_the_int8_export_is_a_quarter_and_close(checkpoint, photo, tmp_path):
    ours = TorchEngine.read(checkpoint)
    metadata = dataclasses.replace(ours.metadata, precision="int8")
    export_int8(ours.net, tmp_path / "int8.onnx", metadata, [photo, photo[::-1], photo[:, ::-1]])
    engine = OnnxEngine(tmp_path / "int8.onnx")
    assert engine.metadata.precision == "int8"
    assert (tmp_path / "int8.onnx").stat().st_size < 22e6
    scores, exact = engine.scores(photo), ours.scores(photo)
    assert np.linalg.norm(scores - exact) < 0.2 * np.linalg.norm(exact)


def test_mistakes_name_the_file(checkpoint, tmp_path):
    with pytest.raises(InputError, match=r"expected a checkpoint folder with state\.json"):
        TorchEngine.read(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(InputError, match=r"state\.json: not the state of a checkpoint"):
        TorchEngine.read(tmp_path)
    text = (checkpoint / "state.json").read_text().replace("deeplab-largefov", "deeplab-4x4")
    (tmp_path / "state.json").write_text(text)
    (tmp_path / "model.safetensors").symlink_to(checkpoint / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors: is not of deeplab-4x4"):
        TorchEngine.read(tmp_path)

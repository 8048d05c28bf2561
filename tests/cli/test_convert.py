import json

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from safetensors import safe_open
from safetensors.torch import load_file, save_file

from atrous.cli import app
from atrous.data.metadata import VOC_CLASSES
from atrous.data.transforms import network_input
from atrous.errors import InputError
from atrous.network import DeepLab
from atrous.network.deeplab import TRUNK
from atrous.network.torch_backend import TorchEngine
from atrous.network.weights import load_weights

runner = CliRunner()


@pytest.fixture
def narrow(monkeypatch):
    """Networks of four channels a layer in the trunk while the test runs."""
    for stage, spec in TRUNK.items():
        monkeypatch.setitem(TRUNK, stage, spec._replace(channels=4))


@pytest.fixture
def vgg(narrow, tmp_path):
    torch.manual_seed(0)
    save_file(
        {n: p.detach() for n, p in DeepLab().named_parameters() if n.startswith("conv")}, tmp_path / "vgg.safetensors"
    )
    return tmp_path / "vgg.safetensors"


def convert(*arguments):
    return runner.invoke(app, ["convert", *map(str, arguments)], catch_exceptions=False)


def test_convert_writes_a_whole_network_and_says_what_is_in_it(vgg, tmp_path):
    out = tmp_path / "start.safetensors"
    done = convert(vgg, out, "--classes", 5, "--multiscale", "--seed", 3)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "format: layers by name (safetensors)",
        "filled: conv1_1 to conv5_3",
        "drawn at random: fc6, fc7, fc8, the branches",
        f"wrote {out}: {out.stat().st_size / 1e6:.1f} MB",
    ]
    net = DeepLab(classes=5, multiscale=True)
    load_weights(net, out)
    assert torch.equal(net.conv5_3.weight, load_file(vgg)["conv5_3.weight"])
    with safe_open(out, "pt") as file:
        header = json.loads(file.metadata()["atrous"])
    assert header["variant"] == "deeplab-largefov"
    assert header["drawn"][:4] == ["fc6", "fc7", "fc8", "branches.image.layer1"]
    # The same command gives the same bytes; what was drawn is remembered.
    again = tmp_path / "again.safetensors"
    convert(vgg, again, "--classes", 5, "--multiscale", "--seed", 3)
    assert again.read_bytes() == out.read_bytes()
    told = convert(again, "--classes", 5)
    assert "note: fc6, fc7, fc8, branches.image.layer1" in told.output
    assert "initialized at random" in told.output


def test_without_out_nothing_is_written(vgg, tmp_path):
    before = set(tmp_path.iterdir())
    done = convert(vgg, "--variant", "deeplab-largefov")
    assert done.exit_code == 0
    assert "drawn at random: fc6, fc7, fc8" in done.output
    assert set(tmp_path.iterdir()) == before


def test_a_checkpoint_tells_its_own_network(narrow, tmp_path):
    folder = tmp_path / "checkpoint-000001"
    folder.mkdir()
    net = DeepLab(classes=3, multiscale=True)
    save_file(net.state_dict(), folder / "model.safetensors")
    recipe = {"variant": "deeplab-largefov", "multiscale": True}
    state = {"recipe": recipe, "classes": ["a", "b", "c"], "training_list": "t", "training_list_sha256": ""}
    (folder / "state.json").write_text(json.dumps(state))
    done = convert(folder, tmp_path / "a.safetensors")
    assert "drawn at random: nothing" in done.output
    assert load_file(tmp_path / "a.safetensors").keys() == net.state_dict().keys()
    plain = convert(folder, "--one-scale")
    assert "not used: the branches: the network predicts at one scale" in plain.output


@pytest.mark.parametrize("classes", [21, 3])
def test_a_finished_model_becomes_a_checkpoint_that_runs(narrow, tmp_path, classes):
    torch.manual_seed(1)
    before = DeepLab(classes=classes).eval()
    tensors = {("fc8_voc12" + n[3:] if n.startswith("fc8") else n): p for n, p in before.state_dict().items()}
    torch.save(tensors, tmp_path / "released.pth")
    names = ["background", "cat", "dog"]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    options = [] if classes == 21 else ["--class-names", tmp_path / "classes.txt"]
    done = convert(tmp_path / "released.pth", tmp_path / "model", *options)
    assert done.exit_code == 0, done.output
    assert f"wrote {tmp_path / 'model'}: " in done.output
    engine = TorchEngine.read(tmp_path / "model")
    assert engine.metadata.classes == (VOC_CLASSES if classes == 21 else tuple(names))
    photo = np.random.default_rng(0).integers(0, 256, (33, 40, 3), dtype=np.uint8)
    scores = engine.scores(photo)
    with torch.no_grad():
        expected = before(torch.from_numpy(network_input(photo))[None])[0].numpy()
    assert np.array_equal(scores, expected)
    if classes == 3:
        with pytest.raises(InputError, match="3 classes of a checkpoint"):
            convert(tmp_path / "released.pth", tmp_path / "other", "--classes", 3)
        with pytest.raises(InputError, match="4 names.* got 3"):
            convert(tmp_path / "released.pth", tmp_path / "other", "--classes", 4, *options)
        assert not list(tmp_path.glob(".other*"))
        again = convert(tmp_path / "model", tmp_path / "copy")
        assert again.exit_code == 0
        assert TorchEngine.read(tmp_path / "copy").metadata.classes == tuple(names)


def test_mistakes(vgg, tmp_path):
    out = tmp_path / "out.safetensors"
    for arguments, said in (
        ((vgg, tmp_path / "out.pth"), "out.pth: expected a name that ends in .safetensors, or one without a suffix"),
        ((vgg, tmp_path / "folder"), "fc6, fc7, fc8 would be random"),
        ((vgg, tmp_path), "exists; choose another name"),
        ((vgg, tmp_path / "no" / "out.safetensors"), "an existing folder"),
        ((tmp_path / "missing.pth", out), "missing.pth: no such file"),
        ((vgg, out, "--variant", "resnet"), "variant: expected one of"),
        ((vgg, vgg), "exists; choose another name, or overwrite"),
    ):
        with pytest.raises(InputError, match=said):
            convert(*arguments)
    assert not out.exists()
    assert not (tmp_path / "folder").exists()
    assert convert(vgg, vgg, "--overwrite").exit_code == 0
    assert "fc8.weight" in load_file(vgg)
    assert convert(vgg, out, "--subset", "third").exit_code == 2

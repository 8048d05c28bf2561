import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous.data.metadata import CrfParameters, ModelMetadata
from atrous.errors import ComputeError, InputError
from atrous.network.deeplab import DeepLab
from atrous.network.torch_backend import TorchEngine
from atrous.segmenter import Segmenter


def test_a_checkpoint_becomes_an_engine(narrow, write_checkpoint, photo):
    engine = TorchEngine.read(write_checkpoint())
    assert engine.metadata.variant == "deeplab-largefov"
    assert engine.metadata.classes == ("background", "cat", "dog")
    assert engine.metadata.palette[2] == (0, 128, 0)
    assert engine.metadata.training_list_sha256 == "0" * 64
    assert engine.scores(photo).shape == (3, 10, 13)  # 72x96 is padded to 73x97


def test_a_multiscale_checkpoint_scores_each_pixel(narrow, write_checkpoint, photo):
    folder = write_checkpoint(recipe={"multiscale": True}, palette=[[0, 0, 0], [255, 0, 0], [0, 0, 255]])
    engine = TorchEngine.read(folder, crf=CrfParameters(weight=4, sxy=83, srgb=5))
    assert engine.metadata.variant == "deeplab-msc-largefov"
    assert engine.metadata.output_stride == 1
    assert engine.metadata.palette[2] == (0, 0, 255)
    assert engine.metadata.crf.sxy == 83
    assert engine.scores(photo).shape == (3, 73, 97)
    segmentation = Segmenter(folder)(photo)
    assert segmentation.labels.shape == (72, 96)
    assert segmentation.overlay().size == (96, 72)


def test_a_network_at_hand_becomes_an_engine(narrow, photo, tiny_metadata):
    net = DeepLab(classes=3).train()
    engine = TorchEngine(net, tiny_metadata)
    assert engine.net is net
    assert not net.training
    expected = engine.scores(photo)
    # the order and the mean of the metadata count
    turned = dataclasses.replace(tiny_metadata, color_order="RGB", mean=tiny_metadata.mean[::-1])
    torch.testing.assert_close(TorchEngine(net, turned).scores(photo[..., ::-1].copy()), expected)
    with pytest.raises(InputError, match="21 classes at stride 1 .* 3 at stride 8"):
        TorchEngine(DeepLab(multiscale=True), tiny_metadata)


def test_metadata_of_multiscale_survives_the_file(narrow, write_checkpoint):
    metadata = TorchEngine.read(write_checkpoint(recipe={"multiscale": True})).metadata
    assert ModelMetadata.from_json(metadata.to_json(), "model.onnx") == metadata


def test_mistakes_name_the_file(narrow, write_checkpoint, tmp_path):
    with pytest.raises(InputError, match=r"expected a checkpoint folder with state\.json"):
        TorchEngine.read(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(InputError, match=r"state\.json: expected the state of a checkpoint"):
        TorchEngine.read(tmp_path)
    folder = write_checkpoint()
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    state = (folder / "state.json").read_text()
    (tmp_path / "state.json").write_text(state.replace("deeplab-largefov", "deeplab-4x4"))
    with pytest.raises(InputError, match=r"model\.safetensors: .*deeplab-4x4"):
        TorchEngine.read(tmp_path)
    (tmp_path / "state.json").write_text(state.replace('"variant"', '"multiscale": true, "variant"'))
    with pytest.raises(InputError, match=r"model\.safetensors: .*branches"):
        TorchEngine.read(tmp_path)
    (tmp_path / "state.json").write_text(state.replace("deeplab-largefov", "deeplab-9x9"))
    with pytest.raises(InputError, match=r"state\.json: expected the state of a checkpoint \(variant 'deeplab-9x9'"):
        TorchEngine.read(tmp_path)
    (tmp_path / "state.json").write_text(json.dumps(json.loads(state) | {"classes": 3}))
    with pytest.raises(InputError, match=r"state\.json: expected the state of a checkpoint .*classes: expected a list"):
        TorchEngine.read(tmp_path)


def test_a_saved_network_comes_back_with_its_metadata(narrow, tmp_path, photo, tiny_metadata):
    pytest.importorskip("huggingface_hub", reason="needs the extra 'hub'")
    metadata = dataclasses.replace(tiny_metadata, color_order="RGB", mean=(1.0, 2.0, 3.0), output_stride=1)
    engine = TorchEngine(DeepLab("deeplab", classes=3, multiscale=True), metadata)
    crf = CrfParameters(weight=4, sxy=33, srgb=3)
    Segmenter(engine, crf=crf, max_side=90).save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    again = TorchEngine.read(tmp_path)
    assert again.metadata == dataclasses.replace(metadata, variant="deeplab-msc", crf=crf)
    torch.testing.assert_close(again.scores(photo), engine.scores(photo))
    for segmenter in (Segmenter(tmp_path), Segmenter.from_pretrained(tmp_path, device="cpu", threads=2)):
        assert segmenter.crf == crf
        assert segmenter.engine.device == "cpu"
    assert (segmenter.max_side, segmenter.engine.threads) == (90, 2)


def test_the_device_is_the_best_there_is_or_the_one_named(narrow, write_checkpoint, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = write_checkpoint()
    assert Segmenter(folder).engine.device == "cpu"
    for device, says in {"cuda": "PyTorch", "cuda:1": "PyTorch", "gpu": "expected 'cpu'", "cuda:x": "expected"}.items():
        with pytest.raises(InputError, match=says):
            Segmenter(folder, device=device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    moved = []
    monkeypatch.setattr(DeepLab, "to", lambda net, device: moved.append(device) or net)
    for device in (None, "cuda", "cuda:1", "cpu"):
        Segmenter(folder, device=device)
    assert moved == ["cuda", "cuda", "cuda:1", "cpu"]
    with pytest.raises(InputError, match="finds 2"):
        Segmenter(folder, device="cuda:2")


def test_a_run_folder_is_told_its_newest_checkpoint(narrow, write_checkpoint):
    folder = write_checkpoint()
    with pytest.raises(InputError, match=r"; use .*checkpoint-000007"):
        TorchEngine.read(folder.parent)


def test_what_pytorch_fails_on_is_one_line(narrow, write_checkpoint, monkeypatch):
    engine = TorchEngine.read(write_checkpoint())
    engine.device = "cuda:1"

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nSee documentation")

    monkeypatch.setattr(engine, "net", full)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, _: tensor)
    with pytest.raises(ComputeError, match=r"^the network failed on 9x17 pixels, on cuda:1 \(CUDA out .*'cpu'$"):
        engine.scores(np.zeros((9, 17, 3), np.uint8))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"recipe": None}, "recipe"),
        ({"recipe": {"variant": ["deeplab"]}}, "variant"),
        ({"recipe": {"variant": "deeplab", "multiscale": "false"}}, "multiscale"),
        ({"classes": {"a": 1}}, "classes"),
        ({"classes": ["only"]}, "classes"),
        ({"classes": [str(i) for i in range(100_000)]}, "classes"),
        ({"classes": ["a", "b", 3]}, "classes"),
        ({"classes": ["a", "b", "a"]}, "classes"),
        ({"classes": ["a", "b", "c" * 1000]}, "classes"),
        ({"palette": [[0, 0, 0]] * 2}, "palette"),
        ({"palette": [[0, 0, 0], [0, 0, 0], [0, 0, -1]]}, "palette"),
        ({"palette": "black"}, "palette"),
        ({"training_list": 5}, "training_list"),
        ({"training_list_sha256": None}, "training_list_sha256"),
    ],
)
def test_a_state_that_cannot_be_right_is_one_line(narrow, write_checkpoint, change, match):
    folder = write_checkpoint(**{"palette": [[0, 0, 0]] * 3})
    path = folder / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=rf"state\.json: .*{match}") as caught:
        TorchEngine.read(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff\xfe", b"[]", b"null", b"1e999", b'{"recipe":' * 50_000])
@pytest.mark.parametrize("name", ["state.json", "config.json"])
def test_settings_that_are_no_settings(narrow, write_checkpoint, content, name):
    folder = write_checkpoint()
    (folder / "state.json").unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=name.replace(".", r"\.")) as caught:
        TorchEngine.read(folder)
    assert "\n" not in str(caught.value)


def test_scores_that_are_no_numbers_are_the_networks_fault(narrow, write_checkpoint, photo):
    engine = TorchEngine.read(write_checkpoint())
    with torch.no_grad():
        engine.net.fc8.bias[1] = float("inf")
    with pytest.raises(InputError, match="deeplab-largefov: .*NaN"):
        engine.scores(photo)

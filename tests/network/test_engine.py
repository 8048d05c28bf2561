import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous.data.metadata import CrfParameters, ModelMetadata
from atrous.errors import InputError
from atrous.network.deeplab import DeepLab
from atrous.network.engine import TorchEngine
from atrous.segmenter import Segmenter


def test_a_checkpoint_becomes_an_engine(narrow, write_checkpoint, photo):
    engine = TorchEngine.read(write_checkpoint())
    assert engine.metadata.variant == "deeplab-largefov"
    assert engine.metadata.classes == ("background", "cat", "dog")
    assert engine.metadata.palette[2] == (0, 128, 0)
    assert engine.metadata.training_list_sha256 == "0" * 64
    assert engine.scores(photo).shape == (3, 13, 13)  # 72x96 is padded to 97x97


def test_a_multiscale_checkpoint_scores_each_pixel(narrow, write_checkpoint, photo):
    folder = write_checkpoint(recipe={"multiscale": True}, palette=[[0, 0, 0], [255, 0, 0], [0, 0, 255]])
    engine = TorchEngine.read(folder, crf=CrfParameters(weight=4, sxy=83, srgb=5))
    assert engine.metadata.variant == "deeplab-msc-largefov"
    assert engine.metadata.output_stride == 1
    assert engine.metadata.palette[2] == (0, 0, 255)
    assert engine.metadata.crf.sxy == 83
    assert engine.scores(photo).shape == (3, 97, 97)
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
    turned = dataclasses.replace(tiny_metadata, colour_order="RGB", mean=tiny_metadata.mean[::-1])
    torch.testing.assert_close(TorchEngine(net, turned).scores(photo[..., ::-1].copy()), expected)
    with pytest.raises(InputError, match="3 classes at stride 8 for a network of 21 at stride 1"):
        TorchEngine(DeepLab(multiscale=True), tiny_metadata)


def test_metadata_of_multiscale_survives_the_file(narrow, write_checkpoint):
    metadata = TorchEngine.read(write_checkpoint(recipe={"multiscale": True})).metadata
    assert ModelMetadata.from_json(metadata.to_json(), "model.onnx") == metadata


def test_mistakes_name_the_file(narrow, write_checkpoint, tmp_path):
    with pytest.raises(InputError, match=r"expected a checkpoint folder with state\.json"):
        TorchEngine.read(tmp_path)
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(InputError, match=r"state\.json: not the state of a checkpoint"):
        TorchEngine.read(tmp_path)
    folder = write_checkpoint()
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    state = (folder / "state.json").read_text()
    (tmp_path / "state.json").write_text(state.replace("deeplab-largefov", "deeplab-4x4"))
    with pytest.raises(InputError, match=r"model\.safetensors: is not of deeplab-4x4"):
        TorchEngine.read(tmp_path)
    (tmp_path / "state.json").write_text(state.replace('"variant"', '"multiscale": true, "variant"'))
    with pytest.raises(InputError, match=r"model\.safetensors: is not of deeplab.*branches"):
        TorchEngine.read(tmp_path)
    (tmp_path / "state.json").write_text(state.replace("deeplab-largefov", "deeplab-9x9"))
    with pytest.raises(InputError, match=r"state\.json: not the state of a checkpoint \(variant 'deeplab-9x9'"):
        TorchEngine.read(tmp_path)

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from safetensors.torch import save_file

from atrous.errors import InputError
from atrous.network.deeplab import DeepLab, initialise_head
from atrous.network.weights import load_weights, read_tensors


def test_weights_of_another_network_are_refused(tmp_path):
    net = DeepLab(classes=2)
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    same = DeepLab(classes=2)
    load_weights(same, tmp_path / "model.safetensors")
    assert torch.equal(same.fc8.weight, net.fc8.weight)
    with pytest.raises(InputError, match=r"model\.safetensors: is not of deeplab-largefov with 3 classes \(.*fc8"):
        load_weights(DeepLab(classes=3), tmp_path / "model.safetensors")


def test_mistakes_name_the_file(tmp_path):
    path = tmp_path / "vgg.safetensors"
    with pytest.raises(InputError, match=r"vgg\.safetensors: no such file"):
        read_tensors(path)
    path.write_text("not tensors")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        read_tensors(path)


def test_the_head_starts_small_and_without_bias():
    net = DeepLab()
    initialise_head(net, torch.Generator().manual_seed(0))
    assert net.fc6.weight.std().item() == pytest.approx(0.008, rel=0.02)
    assert net.fc7.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert net.fc8.weight.std().item() == pytest.approx(0.002, rel=0.05)
    assert not net.fc8.bias.any()

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from safetensors.torch import save_file

from atrous.errors import InputError
from atrous.network.deeplab import DeepLab, initialise_head
from atrous.network.weights import load_vgg_convolutions, read_tensors


def test_convolutions_are_filled_and_the_head_left(tmp_path):
    net = DeepLab()
    head = net.fc6.weight.clone()
    tensors = {n: torch.full(p.shape, 0.5).half() for n, p in net.named_parameters() if n.startswith("conv")}
    save_file(tensors, tmp_path / "vgg.safetensors")
    load_vgg_convolutions(net, tmp_path / "vgg.safetensors")
    assert (net.conv5_3.weight == 0.5).all()
    assert net.conv5_3.weight.dtype == torch.float32
    assert torch.equal(net.fc6.weight, head)


def test_mistakes_name_the_file_and_the_layer(tmp_path):
    path = tmp_path / "vgg.safetensors"
    with pytest.raises(InputError, match=r"vgg\.safetensors: no such file"):
        read_tensors(path)
    path.write_text("not tensors")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        read_tensors(path)
    save_file({"conv1_1.weight": torch.zeros(64, 3, 5, 5)}, path)
    with pytest.raises(InputError, match=r"conv1_1\.weight has shape \(64, 3, 5, 5\), expected \(64, 3, 3, 3\)"):
        load_vgg_convolutions(DeepLab(), path)


def test_the_head_starts_small_and_without_bias():
    net = DeepLab()
    initialise_head(net, torch.Generator().manual_seed(0))
    assert net.fc6.weight.std().item() == pytest.approx(0.008, rel=0.02)
    assert net.fc7.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert net.fc8.weight.std().item() == pytest.approx(0.002, rel=0.05)
    assert not net.fc8.bias.any()

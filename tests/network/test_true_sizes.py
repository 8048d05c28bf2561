"""Files as large as the real ones."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from caffe_writer import blob, chain, old_layer

from atrous.network import DeepLab
from atrous.network.pretrained_init import start

pytestmark = pytest.mark.slow

STAGES = {1: (2, 64), 2: (2, 128), 3: (3, 256), 4: (3, 512), 5: (3, 512)}


def random_layers(heads):
    rng = np.random.default_rng(0)
    layers, channels = {}, 3
    shapes = {}
    for stage, (count, out) in STAGES.items():
        for i in range(1, count + 1):
            shapes[f"conv{stage}_{i}"] = (out, channels, 3, 3)
            channels = out
    for name, shape in (shapes | heads).items():
        layers[name] = (rng.standard_normal(shape, np.float32), rng.standard_normal(shape[0], np.float32))
    return layers


@pytest.mark.parametrize("old", [True, False], ids=["layers", "layer"])
def test_a_released_largefov(tmp_path, old):
    heads = {"fc6": (1024, 512, 3, 3), "fc7": (1024, 1024, 1, 1), "fc8_voc12": (21, 1024, 1, 1)}
    layers = random_layers(heads)
    path = tmp_path / "train2_iter_8000.caffemodel"
    path.write_bytes(chain(layers, old=old, shape="old" if old else "new"))
    assert path.stat().st_size > 4 * 20_505_429
    net = DeepLab()
    done = start(net, path)
    assert done.drawn == done.unused == ()
    for name, (weight, bias) in layers.items():
        ours = name.partition("_voc12")[0]
        assert np.array_equal(net.get_parameter(f"{ours}.weight").detach().numpy(), weight)
        assert np.array_equal(net.get_parameter(f"{ours}.bias").detach().numpy(), bias)


def test_a_released_multiscale_network(tmp_path):
    """Branches after the trunk, with connections through ReLUs and dropouts in place."""
    heads = {"fc6": (1024, 512, 3, 3), "fc7": (1024, 1024, 1, 1), "fc8_voc12": (21, 1024, 1, 1)}
    content = [chain(random_layers(heads), old=True, shape="old")]
    generator = torch.Generator().manual_seed(0)
    expected = {}
    inputs = {"image": ("data", 3), "pool1": ("pool1", 64), "pool2": ("pool2", 128), "pool3": ("pool3", 256)}
    for branch, (bottom, channels) in (inputs | {"pool4": ("pool4", 512)}).items():
        shapes = {"layer1": (128, channels, 3, 3), "layer2": (128, 128, 1, 1), "classifier": (21, 128, 1, 1)}
        for step, (layer, shape) in enumerate(shapes.items()):
            weight = torch.randn(shape, generator=generator)
            bias = torch.randn(shape[0], generator=generator)
            name = f"{bottom}_ms{step}"
            content.append(old_layer(name, [blob(weight, shape="old"), blob(bias, shape="old")], [bottom], [name]))
            content.append(old_layer(f"relu_{name}", [], [name], [name], kind=18))
            expected[f"branches.{branch}.{layer}"] = (weight, bias)
            bottom = name
    path = tmp_path / "msc.caffemodel"
    path.write_bytes(b"".join(content))
    net = DeepLab(multiscale=True)
    done = start(net, path)
    assert done.drawn == done.unused == ()
    for layer, (weight, bias) in expected.items():
        assert torch.equal(net.get_parameter(f"{layer}.weight"), weight)
        assert torch.equal(net.get_parameter(f"{layer}.bias"), bias)
    plain = start(DeepLab(), path)
    assert plain.unused == ("the branches: the network predicts at one scale",)


def test_vgg_of_torchvision(tmp_path):
    """528 MB in float32; half precision here, to be kind to the disk."""
    layers = random_layers({"fc6": (4096, 25088), "fc7": (4096, 4096), "fc8": (1000, 4096)})
    indices = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    names = [f"features.{i}" for i in indices] + [f"classifier.{i}" for i in (0, 3, 6)]
    tensors = {}
    for name, (weight, bias) in zip(names, layers.values(), strict=True):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = torch.from_numpy(weight).half(), torch.from_numpy(bias)
    torch.save(tensors, tmp_path / "vgg16.pth")
    net = DeepLab()
    done = start(net, tmp_path / "vgg16.pth", subset="fourth")
    assert done.drawn == ("fc8",)
    fc6 = tensors["classifier.0.weight"].float().reshape(4096, 512, 7, 7)
    assert torch.equal(net.fc6.weight, fc6[::4, :, ::3, ::3])
    assert torch.equal(net.fc7.weight[..., 0, 0], tensors["classifier.3.weight"].float()[::4, ::4])

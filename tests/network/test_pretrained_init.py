"""Files as other projects write them, narrowed to four channels a layer, made here and read."""

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from caffe_writer import chain
from safetensors.torch import save_file
from vgg_files import CONVOLUTIONS, FC, INDICES, checkpoint, convolutions, flat, random, values, vgg

from atrous.network import DeepLab
from atrous.network.pretrained_init import start

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(3)


def torchvision_name(name):
    heads = {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}
    return heads.get(name) or f"features.{INDICES[CONVOLUTIONS.index(name)]}"


def ssd_name(name):
    return {"fc6": "31", "fc7": "33"}.get(name) or str(INDICES[CONVOLUTIONS.index(name)])


def assert_filled(net, layers, names=CONVOLUTIONS):
    for name in names:
        assert torch.equal(net.get_parameter(f"{name}.weight"), layers[name][0]), name
        assert torch.equal(net.get_parameter(f"{name}.bias"), layers[name][1]), name


# (b) the convolutions alone


def test_imagenet_convolutions_alone(tmp_path):
    layers = convolutions()
    save_file({k: t.half() for k, t in flat(layers).items()}, tmp_path / "conv.safetensors")
    net = DeepLab()
    done = start(net, tmp_path / "conv.safetensors", seed=5)
    assert_filled(net, {n: (w.half().float(), b.half().float()) for n, (w, b) in layers.items()})
    assert net.conv1_1.weight.dtype == torch.float32
    assert done.filled == tuple(CONVOLUTIONS)
    assert done.drawn == ("fc6", "fc7", "fc8")
    assert done.unused == ()
    assert done.report().splitlines() == [
        "format: layers by name (safetensors)",
        "filled: conv1_1 to conv5_3",
        "drawn at random: fc6, fc7, fc8",
    ]
    assert not net.fc6.bias.any()


def test_the_seed_tells_what_is_drawn(tmp_path):
    save_file(flat(vgg()), tmp_path / "vgg.safetensors")
    nets = [DeepLab(multiscale=True) for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        torch.manual_seed(seed + 10 * nets.index(net))  # the global generator has no say
        start(net, tmp_path / "vgg.safetensors", seed=seed)
    a, b, c = (values(net) for net in nets)
    assert all(torch.equal(a[name], b[name]) for name in a)
    for name in ("fc6.weight", "fc7.weight", "fc8.weight", "branches.pool4.layer1.weight"):
        assert not torch.equal(a[name], c[name])
    assert torch.equal(a["conv3_1.weight"], c["conv3_1.weight"])


# (a) torchvision


@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
def test_torchvision(tmp_path, container):
    layers = vgg()
    path = tmp_path / "vgg16-397923af.pth"
    if container == "safetensors":
        save_file(flat(layers, torchvision_name), path)
    else:
        torch.save(flat(layers, torchvision_name), path, _use_new_zipfile_serialization=container == "zip")
    net = DeepLab("deeplab-7x7")
    done = start(net, path, subset="fourth")
    kind = "safetensors" if container == "safetensors" else "PyTorch state dict"
    assert done.format == f"VGG-16 with torchvision's names ({kind})"
    assert_filled(net, layers, CONVOLUTIONS[1:])
    # Channels 0, 4, 8 and 12; a matrix's columns run over channels, rows, columns.
    assert torch.equal(net.fc6.weight, layers["fc6"][0].reshape(FC, 4, 7, 7)[::4])
    assert torch.equal(net.fc6.bias, layers["fc6"][1][::4])
    assert torch.equal(net.fc7.weight[..., 0, 0], layers["fc7"][0][::4, ::4])
    assert torch.equal(net.fc7.bias, layers["fc7"][1][::4])
    assert done.drawn == ("fc8",)
    assert done.unused == ("classifier.6: shape (1000, 16) does not fit (21, 4, 1, 1)",)
    assert done.notes == (
        "conv1_1 converted from torchvision's red-green-blue, 0 to 1, to blue-green-red, 0 to 255",
        "fc6 and fc7 keep 4 of 16 channels, every fourth",
    )


def test_trunk_features_of_torchvision_agree_in_the_interior(tmp_path):
    """Five pooled stages deep: a cell whose whole field of view lies inside the photo has the same features."""
    layers = convolutions()
    torch.save(flat(layers, torchvision_name), tmp_path / "vgg.pth")
    net = DeepLab().eval()
    start(net, tmp_path / "vgg.pth")
    rgb = torch.rand(1, 3, 321, 321)
    theirs = (rgb - torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).reshape(1, 3, 1, 1)
    ours = rgb.flip(1) * 255 - torch.tensor([104.008, 116.669, 122.675]).reshape(1, 3, 1, 1)
    with torch.no_grad():
        features = net.trunk(ours)
        start_of_theirs = DeepLab().eval()
        for name, (weight, bias) in layers.items():
            start_of_theirs.get_parameter(f"{name}.weight").copy_(weight)
            start_of_theirs.get_parameter(f"{name}.bias").copy_(bias)
        expected = start_of_theirs.trunk(theirs)
    scale = expected.abs().max()
    assert ((features - expected)[..., 18:-18, 18:-18].abs().max() / scale) < 1e-4
    assert scale > 0


def test_torchvisions_features_without_a_classifier(tmp_path):
    """Its weights for detection come with a classifier of NaN."""
    layers = vgg()
    nan = {n: (w * float("nan"), b) if n.startswith("fc") else (w, b) for n, (w, b) in layers.items()}
    torch.save(flat(nan, torchvision_name), tmp_path / "features.pth")
    done = start(DeepLab("deeplab-7x7"), tmp_path / "features.pth")
    assert done.drawn == ("fc6", "fc7", "fc8")
    assert "classifier.0: holds NaN or infinity" in done.unused
    assert "classifier.3: requires its fc6" in done.unused


# (c) decimation


@pytest.mark.parametrize(
    ("variant", "taps"),
    [
        ("deeplab-7x7", range(7)),
        ("deeplab", [0, 2, 4, 6]),
        ("deeplab-4x4", [0, 2, 4, 6]),
        ("deeplab-largefov", [0, 3, 6]),
    ],
)
def test_every_variant_keeps_its_taps_and_one_set_of_channels(tmp_path, variant, taps):
    layers = vgg()
    # Each number says where it comes from: filter, then row and column.
    grid = torch.arange(7.0)
    layers["fc6"] = (
        (torch.arange(FC).reshape(FC, 1, 1, 1) * 100 + grid[:, None] * 10 + grid).expand(FC, 4, 7, 7).contiguous(),
        torch.arange(FC) * 1.0,
    )
    layers["fc7"] = (torch.arange(FC)[:, None] * 100 + torch.arange(FC) * 1.0, torch.arange(FC) * 1.0)
    save_file(flat(layers), tmp_path / "vgg.safetensors")
    net = DeepLab(variant)
    done = start(net, tmp_path / "vgg.safetensors", seed=7)
    kept = net.fc6.bias.long().tolist()
    assert kept == sorted(set(kept))
    assert len(kept) == 4
    assert kept != [0, 4, 8, 12]
    expected = torch.tensor([[[k * 100 + y * 10 + x for x in taps] for y in taps] for k in kept]) * 1.0
    assert torch.equal(net.fc6.weight, expected[:, None].expand(-1, 4, -1, -1))
    assert net.fc7.weight[..., 0, 0].tolist() == [[o * 100.0 + i for i in kept] for o in kept]
    assert net.fc7.bias.tolist() == kept
    assert ("fc6 decimated" in done.report()) == (variant != "deeplab-7x7")
    # fc8 over ImageNet's fc7 is wider than over a drawn one.
    assert done.drawn == ("fc8",)
    assert 0.006 < net.fc8.weight.std().item() < 0.014


# (d) SSD's reduced VGG-16


@pytest.mark.parametrize("prefix", ["", "vgg.", "module.vgg."])
def test_ssds_reduced_vgg(tmp_path, prefix):
    layers = convolutions()
    layers["fc6"] = (random(4, 4, 3, 3), random(4))
    layers["fc7"] = (random(4, 4, 1, 1), random(4))
    tensors = flat(layers, lambda n: prefix + ssd_name(n))
    if prefix:
        tensors |= {"extras.0.weight": random(2, 2, 1, 1), "extras.0.bias": random(2), "L2Norm.weight": random(4)}
    torch.save(tensors, tmp_path / "vgg16_reducedfc.pth")
    net = DeepLab()
    done = start(net, tmp_path / "vgg16_reducedfc.pth")
    assert_filled(net, layers, [*CONVOLUTIONS, "fc6", "fc7"])
    assert done.drawn == ("fc8",)
    assert done.unused == (("extras.0: unknown layer", "L2Norm: unknown layer") if prefix else ())
    other = start(DeepLab("deeplab-4x4"), tmp_path / "vgg16_reducedfc.pth")
    assert other.drawn == ("fc6", "fc7", "fc8")


# (e) Caffe


@pytest.mark.parametrize("old", [True, False], ids=["layers", "layer"])
@pytest.mark.parametrize("last", ["fc8", "fc8_voc12", "fc8_pascal"])
def test_a_released_deeplab(tmp_path, old, last):
    layers = convolutions()
    layers["fc6"] = (random(4, 4, 3, 3), random(4))
    layers["fc7"] = (random(4, 4, 1, 1), random(4))
    layers[last] = (random(21, 4, 1, 1), random(21))
    (tmp_path / "train_iter_6000.caffemodel").write_bytes(chain(layers, old=old, shape="old" if old else "new"))
    net = DeepLab()
    done = start(net, tmp_path / "train_iter_6000.caffemodel")
    layers["fc8"] = layers[last]
    assert_filled(net, layers, [*CONVOLUTIONS, "fc6", "fc7", "fc8"])
    assert done.format == "Caffe model"
    assert done.drawn == done.unused == done.notes == ()


@pytest.mark.parametrize("shape", ["old", "new"])
def test_vgg_of_caffe(tmp_path, shape):
    layers = vgg()
    (tmp_path / "VGG_ILSVRC_16_layers.caffemodel").write_bytes(chain(layers, old=shape == "old", shape=shape))
    net = DeepLab("deeplab-7x7")
    done = start(net, tmp_path / "VGG_ILSVRC_16_layers.caffemodel", subset="fourth")
    assert_filled(net, layers)
    assert torch.equal(net.fc6.weight, layers["fc6"][0].reshape(FC, 4, 7, 7)[::4])
    assert torch.equal(net.fc7.weight[..., 0, 0], layers["fc7"][0][::4, ::4])
    assert done.drawn == ("fc8",)
    (unused,) = done.unused
    assert unused.startswith("fc8: shape (")


# (f) ours


@pytest.mark.parametrize("multiscale", [False, True])
def test_a_checkpoint_or_its_model_alone_fills_everything(tmp_path, multiscale):
    before = DeepLab(multiscale=multiscale)
    folder = checkpoint(tmp_path / "checkpoint-000010", before)
    for path in (folder, folder / "model.safetensors"):
        net = DeepLab(multiscale=multiscale)
        done = start(net, path)
        assert done.drawn == done.unused == ()
        assert all(torch.equal(a, b) for a, b in zip(values(before).values(), values(net).values(), strict=True))
    assert start(net, folder).format == "checkpoint folder"


def test_a_plain_network_begins_a_multiscale_one(tmp_path):
    before = DeepLab()
    net = DeepLab(multiscale=True)
    done = start(net, checkpoint(tmp_path / "c", before))
    assert done.report().splitlines()[1:3] == [
        "filled: conv1_1 to conv5_3, fc6, fc7, fc8",
        "drawn at random: the branches",
    ]
    assert torch.equal(net.fc8.weight, before.fc8.weight)
    assert net.branches.image.layer1.weight.std() < 0.002
    back = start(DeepLab(), checkpoint(tmp_path / "msc", net))
    assert back.drawn == ()
    assert back.unused == ("the branches: the network predicts at one scale",)


def test_another_number_of_classes(tmp_path):
    before = DeepLab(classes=5, multiscale=True)
    net = DeepLab(classes=7, multiscale=True)
    done = start(net, checkpoint(tmp_path / "c", before))
    scores = [f"branches.{name}.classifier" for name in ("image", "pool1", "pool2", "pool3", "pool4")]
    assert sorted(done.drawn) == sorted(["fc8", *scores])
    assert "fc8: shape (5, 4, 1, 1) does not fit (7, 4, 1, 1)" in done.unused
    assert torch.equal(net.fc7.weight, before.fc7.weight)
    assert torch.equal(net.branches.pool2.layer2.weight, before.branches.pool2.layer2.weight)


# What others wrap around it


@pytest.mark.parametrize("wrap", [
    lambda d: {"state_dict": d, "epoch": 3},
    lambda d: {"epoch": 3, "best": torch.tensor(0.5), "model": d},
    lambda d: {"model_state_dict": {f"module.{k}": v for k, v in d.items()}, "optimizer": {"state": {}}},
    lambda d: {"checkpoint": {"weights": d}},
    lambda d: {f"backbone.{k}": torch.nn.Parameter(v) for k, v in d.items()},
])  # fmt: skip
def test_wrappers_and_prefixes(tmp_path, wrap):
    layers = vgg()
    torch.save(wrap(flat(layers)), tmp_path / "model.pth")
    net = DeepLab("deeplab-7x7")
    done = start(net, tmp_path / "model.pth")
    assert_filled(net, layers)
    assert done.drawn == ("fc8",)

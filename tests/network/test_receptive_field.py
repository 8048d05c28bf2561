import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from torch.nn import functional as F

from atrous.network.deeplab import OUTPUT_STRIDE, DeepLab
from atrous.network.receptive_field import (
    Layer,
    field_of_view,
    layers,
    output_stride,
    receptive_field,
    sliding_window,
    with_holes,
)
from atrous.network.variants import VARIANTS


# Fields of view: as the paper gives them. Receptive fields: by hand, 243 pixels before fc6.
@pytest.mark.parametrize(
    ("name", "view", "receptive"),
    [
        ("deeplab-7x7", 224, 243 + 8 * 24),
        ("deeplab", 128, 243 + 8 * 12),
        ("deeplab-4x4", 224, 243 + 8 * 24),
        ("deeplab-largefov", 224, 243 + 8 * 24),
    ],
)
def test_fields_of_view(name, view, receptive):
    assert field_of_view(VARIANTS[name]) == view
    assert receptive_field(layers(VARIANTS[name])) == receptive
    assert output_stride(layers(VARIANTS[name])) == OUTPUT_STRIDE


def test_receptive_field_by_hand():
    """Two taps three pixels apart, every second kept, then two neighbors of those: 0, 3 and 2, 5."""
    assert receptive_field([Layer("a", "convolution", 2, stride=2, dilation=3), Layer("b", "max", 2)]) == 6


@pytest.mark.parametrize("name", VARIANTS)
def test_one_score_depends_on_its_receptive_field(narrow, name):
    """The gradient of one score, in the network as it is: positive weights, so that nothing cancels."""
    net = positive(DeepLab(name, classes=2))
    # Rising from the middle outward: each max-pool passes its outermost cell on, the gradient goes as far as it can.
    side = 577
    middle = side // 2
    offset = (torch.arange(side) - middle).abs().double()
    image = (offset[:, None] + offset).expand(1, 3, -1, -1).clone().requires_grad_()
    scores = net(image)
    assert scores.shape[-1] == 2 * (middle // 8) + 1
    scores[0, 0, middle // 8, middle // 8].backward()
    reach = receptive_field(layers(VARIANTS[name])) // 2
    for axis in (0, 1):
        touched = image.grad[0].amax(0).amax(axis).nonzero().flatten()
        assert (touched.min(), touched.max()) == (middle - reach, middle + reach)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_receptive_field_has_no_gaps(narrow, name, monkeypatch):
    """fc6's taps lie up to 96 pixels apart, but what each of them sees is wider."""
    monkeypatch.setattr(F, "max_pool2d", averaged)  # a max-pool's gradient goes to one cell only
    net = positive(DeepLab(name, classes=2))
    image = torch.ones(1, 3, 481, 481, dtype=torch.float64, requires_grad=True)
    net(image)[0, 0, 30, 30].backward()
    reach = receptive_field(layers(VARIANTS[name])) // 2
    expected = torch.zeros(481, 481, dtype=torch.bool)
    expected[240 - reach : 240 + reach + 1, 240 - reach : 240 + reach + 1] = True
    assert torch.equal(image.grad[0].amax(0) > 0, expected)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_table_is_the_network(narrow, name):
    net = random(DeepLab(name, classes=2))
    image = torch.randn(1, 3, 90, 117)
    torch.testing.assert_close(run(layers(VARIANTS[name]), net, image), net(image))


@pytest.mark.parametrize("name", VARIANTS)
def test_the_variants_are_vgg16_with_holes(name):
    """All but pool5, whose taps the authors left side by side, and the added pool5a."""
    dense = {layer.name: layer for layer in with_holes(sliding_window(VARIANTS[name]), 8)}
    ours = {layer.name: layer for layer in layers(VARIANTS[name])}
    assert set(ours) - set(dense) == {"pool5a"}
    assert [key for key in dense if dense[key] != ours[key]] == ["pool5"]
    assert (dense["pool5"].dilation, ours["pool5"].dilation) == (2, 1)
    assert receptive_field(list(dense.values())) == receptive_field(list(ours.values()))


@pytest.mark.parametrize("name", VARIANTS)
def test_holes_do_what_a_sliding_window_does(narrow, name):
    """One dense run has the scores of sixteen runs of the strided network on the image shifted by 8 pixels."""
    net = random(DeepLab(name, classes=3))
    strided = sliding_window(VARIANTS[name])
    dense = tuple(with_holes(strided, 8))
    assert (output_stride(strided), output_stride(dense)) == (32, 8)
    side = receptive_field(strided) + 8 * 6
    image = torch.randn(1, 3, side, side + 8)
    scores = run(dense, net, image, padded=False)
    assert scores.shape == (1, 3, 7, 8)
    assert scores.std() > 0.01
    for y in range(4):
        for x in range(4):
            shifted = run(strided, net, image[..., 8 * y :, 8 * x :], padded=False)
            torch.testing.assert_close(scores[..., y::4, x::4], shifted, rtol=1e-4, atol=1e-4)


def test_the_trunk_as_it_is_does_what_a_sliding_window_does(narrow):
    """Up to conv5_3 the released network keeps to the hole algorithm."""
    net = random(DeepLab("deeplab-largefov"))
    ours = up_to("conv5_3", layers(net.variant))
    strided = up_to("conv5_3", sliding_window(net.variant))
    side = receptive_field(ours) + 8 * 5
    image = torch.randn(1, 3, side, side)
    features = run(ours, net, image, padded=False)
    assert features.shape[-2:] == (6, 6)
    assert features.std() > 0.01
    for y in range(2):
        for x in range(2):
            shifted = run(strided, net, image[..., 8 * y :, 8 * x :], padded=False)
            torch.testing.assert_close(features[..., y::2, x::2], shifted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", VARIANTS)
def test_fc6_as_it_is_does_what_a_sliding_window_does(narrow, name):
    """On each grid of every fourth cell it is fc6 of the strided network."""
    net = random(DeepLab(name, classes=3))
    features = torch.rand(1, 4, 33, 33)
    scores = net.head(features)
    margin = net.fc6.padding[0]
    inside = scores[..., margin : 33 - margin, margin : 33 - margin]
    assert inside.std() > 0.01
    for y in range(4):
        for x in range(4):
            table = [layer for layer in sliding_window(net.variant) if layer.name.startswith("fc")]
            shifted = run(table, net, features[..., y::4, x::4], padded=False)
            torch.testing.assert_close(inside[..., y::4, x::4], shifted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def run(table, net, x, padded=True):
    """Run a table of layers with a network's weights, layer by layer."""
    for layer in table:
        padding = layer.padding if padded else 0
        if layer.kind == "max":
            x = F.max_pool2d(x, layer.kernel, layer.stride, padding, layer.dilation, ceil_mode=padded)
        elif layer.kind == "average":
            x = F.avg_pool2d(x, layer.kernel, layer.stride, padding)
        else:
            weights = net.get_submodule(layer.name)
            x = F.conv2d(x, weights.weight, weights.bias, layer.stride, padding, layer.dilation)
            x = x if layer.name == "fc8" else F.relu(x)
    return x


def up_to(name, table):
    return table[: [layer.name for layer in table].index(name) + 1]


def averaged(x, kernel, stride, padding, ceil_mode):
    return F.avg_pool2d(x, kernel, stride, padding, ceil_mode)


def positive(net):
    for parameter in net.parameters():
        torch.nn.init.constant_(parameter, 1 / parameter[0].numel())
    return net.double().eval()


def random(net):
    torch.manual_seed(0)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    return net.eval()

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous.network.deeplab import TRUNK, DeepLab, initialize_head, output_size


def on_meta(name, **kwargs):
    with torch.device("meta"):
        return DeepLab(name, **kwargs)


def count(module):
    return sum(p.numel() for p in module.parameters())


# The paper's networks by arithmetic on the layers, at 21 classes.
@pytest.mark.parametrize("multiscale", [False, True], ids=["plain", "msc"])
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("deeplab-7x7", 134_346_581),
        ("deeplab", 65_140_565),
        ("deeplab-4x4", 65_140_565),
        ("deeplab-largefov", 20_505_429),
    ],
)
def test_every_variant(name, parameters, multiscale):
    """Parameters, and shapes of the scores in both modes, sizes of 8 k - 7 and others."""
    net = on_meta(name, multiscale=multiscale)
    assert net.name == (name.replace("deeplab", "deeplab-msc", 1) if multiscale else name)
    assert count(net) == parameters + (1_206_121 if multiscale else 0)
    sizes = [((321, 321), (41, 41)), ((513, 513), (65, 65)), ((375, 500), (48, 64)), ((193, 2), (25, 2))]
    for size, cells in sizes:
        image = torch.empty(2, 3, *size, device="meta")
        assert net.train()(image).shape == (2, 21, *cells)
        assert net.eval()(image).shape == (2, 21, *(size if multiscale else cells))
        assert tuple(map(output_size, size)) == cells
    assert net.output_stride == (1 if multiscale else 8)


def test_multiscale_largefov_has_the_papers_size():
    assert count(on_meta("deeplab-largefov", multiscale=True)) == 21_711_550


@pytest.mark.parametrize(("side", "cells"), [(1, 1), (2, 2), (161, 21), (375, 48), (500, 64)])
def test_output_size_is_that_of_ceil_mode_pooling(side, cells):
    features = on_meta("deeplab-largefov").trunk(torch.empty(1, 3, side, side, device="meta"))
    assert features.shape[-1] == output_size(side) == cells


def test_the_trunk_is_vgg16_with_holes_in_conv5():
    net = on_meta("deeplab-largefov")
    assert [name for name, _ in net.named_children()] == [
        *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"),
        *("conv4_1", "conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3", "fc6", "fc7", "fc8"),
    ]
    assert net.conv5_2.dilation == (2, 2)
    assert net.conv4_2.dilation == (1, 1)
    assert (net.fc6.kernel_size, net.fc6.dilation, net.fc6.padding) == ((3, 3), (12, 12), (12, 12))
    assert [s.pool_stride for s in TRUNK.values()] == [2, 2, 2, 1, 1]


def test_pool5a_averages_with_the_padding_counted():
    net = DeepLab()
    for stage in [f"{s}_{i}" for s, spec in TRUNK.items() for i in range(1, spec.convolutions + 1)]:
        layer = net.get_submodule(stage)
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.ones_(layer.bias)
    features = net.trunk(torch.zeros(1, 3, 33, 33))[0, 0]
    expected = torch.full((5, 5), 1.0)
    expected[[0, -1]] *= 6 / 9
    expected[:, [0, -1]] *= 6 / 9
    torch.testing.assert_close(features, expected)


def test_a_pixel_is_seen_by_cells_half_a_field_of_view_away():
    """fc6's taps lie 12 cells (96 pixels) apart: a change at one cell reaches exactly nine cells."""
    net = DeepLab(classes=2).eval()
    initialize_head(net)
    features = torch.rand(1, 512, 41, 41)
    changed = features.clone()
    changed[..., 20, 20] += 1
    with torch.no_grad():
        moved = (net.head(features) != net.head(changed)).any(dim=1)[0]
    assert moved.nonzero().tolist() == [[y, x] for y in (8, 20, 32) for x in (8, 20, 32)]


def test_dropout_acts_on_elements_and_only_in_training():
    net = DeepLab(classes=2)
    initialize_head(net)
    features = torch.rand(1, 512, 5, 5)
    net.train()
    assert not torch.equal(net.head(features), net.head(features))
    net.eval()
    assert torch.equal(net.head(features), net.head(features))


def test_freezing_leaves_the_rest_to_train():
    net = on_meta("deeplab-largefov")
    net.freeze_through("conv3")
    trained = {n.split(".")[0] for n, p in net.named_parameters() if p.requires_grad}
    assert trained == {f"conv{i}_{j}" for i in (4, 5) for j in (1, 2, 3)} | {"fc6", "fc7", "fc8"}
    net.freeze_through(None)
    assert all(p.requires_grad for p in net.parameters())
    with pytest.raises(ValueError, match="no layer"):
        net.freeze_through("fc8")
    with pytest.raises(ValueError, match="conv1.*'pool3'"):
        net.freeze_through("pool3")


def test_freezing_the_plain_network_trains_the_branches_alone(narrow):
    """Dropout goes on in the frozen layers; no gradient is kept for them."""
    torch.manual_seed(0)  # of four channels drawn at random, all may be dead
    net = DeepLab(classes=3, multiscale=True)
    initialize_head(net)
    net.freeze_through("fc8")
    trained = {n for n, p in net.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in net.named_parameters() if n.startswith("branches.")}
    assert len(trained) == 5 * 3 * 2
    image = torch.rand(1, 3, 65, 65) * 100
    net.train()
    torch.nn.init.normal_(net.fc8.weight)
    assert not net.head(net.trunk(image)).requires_grad
    assert not torch.equal(net.head(net.trunk(image)), net.head(net.trunk(image)))
    net(image).sum().backward()
    assert all((p.grad is not None) == (n in trained) for n, p in net.named_parameters())


def test_unknown_variant_lists_the_known():
    with pytest.raises(ValueError, match="deeplab-largefov.*'deeplab-9x9'"):
        DeepLab("deeplab-9x9")

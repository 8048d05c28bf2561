import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from torch.nn import functional as F

from atrous.network import multiscale
from atrous.network.deeplab import DeepLab, initialize_head
from atrous.network.multiscale import BRANCHES, upsample_twice


@pytest.fixture
def net(narrow):
    """A narrow network with branches, whose scores differ by about 1 from cell to cell."""
    torch.manual_seed(0)
    net = DeepLab(classes=3, dropout=0.0, multiscale=True)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
        else:
            torch.nn.init.normal_(parameter, std=0.1)
    return net


def aligned_zoom(scores, factor):
    """Corners on corners: the definition, in one step."""
    h, w = scores.shape[-2:]
    size = ((h - 1) * factor + 1, (w - 1) * factor + 1)
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=True)


def test_zooming_twice_by_hand():
    rows = torch.tensor([[[[0.0, 2.0, 6.0], [4.0, 6.0, 10.0]]]])
    assert upsample_twice(rows)[0, 0].tolist() == [[0, 1, 2, 4, 6], [2, 3, 4, 6, 8], [4, 5, 6, 8, 10]]
    assert upsample_twice(rows[..., :1, :1]).tolist() == [[[[0]]]]


@pytest.mark.parametrize("size", [(65, 97), (70, 51), (7, 2), (1, 1)])
@torch.no_grad()
def test_at_test_each_map_is_zoomed_to_the_images_size_and_summed(net, size):
    """Chen et al.'s order of things: zoom by 1, 2, 4, 8, 8, and fc8's by 8, then sum."""
    net.eval()
    image = torch.randn(2, 3, *size)
    *levels, _ = net.pools(image)
    expected = aligned_zoom(net.head(net.trunk(image)), 8)[..., : size[0], : size[1]]
    for factor, name, level in zip((1, 2, 4, 8, 8), BRANCHES, levels, strict=True):
        scores = net.branches.get_submodule(name)(level)
        assert scores.shape[-2:] == level.shape[-2:]
        expected = expected + aligned_zoom(scores, factor)[..., : size[0], : size[1]]
    torch.testing.assert_close(net(image), expected)


def test_the_sum_is_one_classifier_on_640_channels(net):
    """The paper concatenates 5 x 128 features before a linear classifier; here 5 x 4."""
    net.train()
    image = torch.randn(1, 3, 129, 129)
    *levels, _ = net.pools(image)
    branches = [net.branches.get_submodule(name) for name in BRANCHES]
    features = []
    for branch, level, (_, stride) in zip(branches, levels, BRANCHES.values(), strict=True):
        x = F.relu(F.conv2d(level, branch.layer1.weight, branch.layer1.bias, stride, padding=1))
        features.append(F.relu(branch.layer2(x)))
    side_by_side = torch.cat(features, dim=1)
    assert side_by_side.shape == (1, 5 * 4, 17, 17)
    weight = torch.cat([branch.classifier.weight for branch in branches], dim=1)
    bias = sum(branch.classifier.bias for branch in branches)
    expected = net.head(net.trunk(image)) + F.conv2d(side_by_side, weight, bias)
    torch.testing.assert_close(net(image), expected)


def test_strides_pick_cells_of_the_dense_branches(net):
    """A branch of stride 8 has every eighth score of the same branch at stride 1, beyond the edge too."""
    branch = net.branches.image.eval()
    image = torch.randn(1, 3, 41, 46)
    strided = branch(image, 8)
    assert strided.shape[-2:] == (6, 7)
    torch.testing.assert_close(strided[..., :6], branch(image)[..., ::8, ::8])
    padded = F.pad(image, (0, 8))
    torch.testing.assert_close(strided[..., 6], branch(padded)[..., ::8, 48])


def test_bands_change_nothing(net, monkeypatch):
    """Without a gradient the branches run in bands of rows: here of three, as two images are 16 wide."""
    net.eval()
    level = torch.randn(2, 3, 17, 16)
    whole = net.branches.image(level)
    monkeypatch.setattr(multiscale, "BAND_CELLS", 3 * 2 * 16)
    with torch.inference_mode():
        torch.testing.assert_close(net.branches.image(level), whole.detach())


def test_dropout_acts_on_both_layers_of_a_branch(net):
    branch = net.branches.pool3
    branch.dropout = 0.5
    for layer in (branch.layer1, branch.layer2, branch.classifier):
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    level = torch.ones(1, 4, 65, 65)
    # In the middle each of four cells is 36, dropped or doubled: 72 n; then again each of four: 144 n m.
    scores = branch.train()(level)[0, 0, 1:-1, 1:-1]
    kept = np.unique((scores.detach() / 144).numpy())
    assert set(kept) == {n * m for n in range(5) for m in range(5)}
    assert branch.eval()(level)[0, 0, 5, 5] == 36 * 4 * 4


def test_branches_start_small():
    """The authors' gaussians; a plain network's draws are the same with branches and without."""
    net = DeepLab(classes=21, multiscale=True)
    initialize_head(net, torch.Generator().manual_seed(0))
    for name in BRANCHES:
        branch = net.branches.get_submodule(name)
        hidden = 0.005 if name == "pool4" else 0.001
        assert branch.layer1.weight.std().item() == pytest.approx(hidden, rel=0.05)
        assert branch.layer2.weight.std().item() == pytest.approx(hidden, rel=0.05)
        assert branch.classifier.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert not any(layer.bias.any() for layer in (branch.layer1, branch.layer2, branch.classifier))
    plain = DeepLab(classes=21)
    initialize_head(plain, torch.Generator().manual_seed(0))
    assert torch.equal(plain.fc8.weight, net.fc8.weight)
    assert {n for n, _ in net.named_parameters() if not n.startswith("branches.")} == set(plain.state_dict())

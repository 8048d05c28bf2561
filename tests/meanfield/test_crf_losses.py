import re

import pytest

torch = pytest.importorskip("torch")

from atrous.crf import Bilateral, Spatial
from atrous.errors import InputError
from atrous.meanfield import DenseCRFLoss, GatedCRFLoss

KERNEL = Bilateral(weight=1, sxy=4, srgb=40)


def scene(batch=2, labels=3, shape=(6, 7), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(batch, labels, *shape, generator=generator, dtype=dtype).softmax(1)
    image = 255 * torch.rand(batch, 3, *shape, generator=generator, dtype=dtype)
    return probabilities, image


def kernel_matrix(image, sxy=4, srgb=40):
    height, width = image.shape[2:]
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([xs, ys], -1).reshape(1, -1, 2).to(image).expand(len(image), -1, -1) / sxy
    features = torch.cat([places, image.flatten(2).mT / srgb], -1)
    return torch.exp(-0.5 * torch.cdist(features, features) ** 2)


def test_the_loss_is_its_double_sum():
    probabilities, image = scene()
    weight = torch.rand(2, 6, 7, dtype=torch.float64)
    k = kernel_matrix(image)
    root = k.sum(2).rsqrt()
    k = root[:, :, None] * k * root[:, None]
    s, r = probabilities.flatten(2).mT, weight.flatten(1)
    pairs = k * r[:, :, None] * r[:, None] * (1 - s @ s.mT)
    expected = (pairs.sum((1, 2)) / r.sum(1)).mean()
    loss = DenseCRFLoss([KERNEL], scale=1, filtering="exact")
    torch.testing.assert_close(loss(probabilities, image, weight), expected)
    doubled = DenseCRFLoss([KERNEL, KERNEL], scale=1, filtering="exact")
    torch.testing.assert_close(doubled(probabilities, image, weight), 2 * expected)


def test_gradients():
    probabilities, image = scene(batch=1, shape=(4, 5))
    loss = DenseCRFLoss([KERNEL], scale=1, filtering="lattice")
    assert torch.autograd.gradcheck(loss, (probabilities.requires_grad_(), image))
    window = GatedCRFLoss([KERNEL], radius=2)
    assert torch.autograd.gradcheck(window, (probabilities, image))


@pytest.mark.parametrize("scale", [1, 0.5])
def test_it_is_between_0_and_1_and_0_for_one_label(scale):
    probabilities, image = scene(shape=(16, 18))
    loss = DenseCRFLoss([KERNEL], scale=scale)
    assert 0 < float(loss(probabilities, image)) < 1
    certain = torch.zeros_like(probabilities)
    certain[:, 1] = 1
    assert float(loss(certain, image)) == pytest.approx(0, abs=1e-5)


def test_labels_along_the_edges_cost_less():
    image = torch.full((1, 3, 16, 16), 50.0)
    image[..., 8:] = 200
    along, across = (torch.zeros(1, 2, 16, 16) for _ in range(2))
    along[:, 0, :, :8] = along[:, 1, :, 8:] = across[:, 0, :8] = across[:, 1, 8:] = 1
    for loss in (DenseCRFLoss([KERNEL], scale=1), GatedCRFLoss([KERNEL])):
        assert float(loss(along, image)) < 0.1 * float(loss(across, image))


def test_confident_labeled_pixels_are_gated():
    probabilities, image = scene(shape=(8, 8))
    loss, gated = (DenseCRFLoss([KERNEL], scale=1, gate=gate, filtering="exact") for gate in (False, True))
    labeled = torch.ones(2, 8, 8, dtype=torch.bool)
    assert torch.equal(loss(probabilities, image), gated(probabilities, image, labeled=~labeled))
    assert float(gated(probabilities, image, labeled=labeled)) < float(loss(probabilities, image))


def test_rloss_has_its_numbers():
    probabilities, image = scene(shape=(6, 8))
    image = 100 + image / 20
    rois = torch.ones(2, 6, 8, dtype=torch.float64)
    rois[:, 0] = 0
    loss = DenseCRFLoss.rloss(weight=0.5, sigma_rgb=40, sigma_xy=4, scale_factor=1.0)
    s = (probabilities * rois[:, None]).flatten(2).mT
    expected = -0.5 * (s * (kernel_matrix(image) @ s)).sum() / 2
    # The lattice stands for the exact kernel, as in rloss; on so few points it loses some of the mass.
    found = float(loss(image, probabilities, rois))
    assert 0.6 * float(expected) > found > 1.1 * float(expected)
    halved = DenseCRFLoss.rloss(weight=0.25, sigma_rgb=40, sigma_xy=4, scale_factor=1.0)
    assert float(halved(image, probabilities, rois)) == pytest.approx(found / 2)


@pytest.mark.parametrize("radius", [1, 3, 10])
def test_the_windowed_loss_is_its_double_sum(radius):
    probabilities, image = scene()
    gate = torch.rand(2, 6, 7, dtype=torch.float64)
    k = kernel_matrix(image)
    places = torch.stack(torch.meshgrid(torch.arange(6), torch.arange(7), indexing="ij"), -1).reshape(-1, 2)
    apart = (places[:, None] - places[None]).abs().amax(-1)
    k = k * ((apart > 0) & (apart <= radius))
    s, g = probabilities.flatten(2).mT, gate.flatten(1)
    expected = (k * g[:, :, None] * g[:, None] * (1 - s @ s.mT)).sum() / g.sum()
    torch.testing.assert_close(GatedCRFLoss([KERNEL], radius=radius)(probabilities, image, gate), expected)


@pytest.mark.parametrize(
    "loss", [DenseCRFLoss([KERNEL]), DenseCRFLoss.rloss(1e-3, 20, 10, 1.0), GatedCRFLoss([KERNEL])]
)
def test_half_precision_and_autocast_compute_in_float32(loss):
    probabilities, image = (each.float() for each in scene())
    half = probabilities.bfloat16()
    rois = torch.ones_like(image[:, 0])
    swapped = not isinstance(loss, DenseCRFLoss | GatedCRFLoss)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = (image, half, rois) if swapped else (half, image)
        found = loss(*given)
    expected = loss(*((image, half.float(), rois) if swapped else (half.float(), image)))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_bad_input():
    probabilities, image = scene()
    for loss in (DenseCRFLoss([KERNEL]), GatedCRFLoss([KERNEL])):
        with pytest.raises(InputError, match="softmax"):
            loss(probabilities.log(), image)
        with pytest.raises(InputError, match="softmax"):
            loss(image, probabilities[:, :3])
        for scaled in (image / 255, image / 128 - 1):
            with pytest.raises(InputError, match="0 to 255"):
                loss(probabilities, scaled)
        with pytest.raises(InputError, match="torch.cat"):
            loss(probabilities[:, :1], image)
        with pytest.raises(InputError, match="sum of 1"):
            loss(probabilities / 2, image)
        for weight, word in (
            (255 * torch.ones(2, 6, 7), "0 to 1"),
            (-torch.ones(2, 6, 7), "0 to 1"),
            (torch.full((2, 6, 7), torch.nan), "0 to 1"),
            (torch.ones(1, 6, 7), "(2, 6, 7)"),
            (torch.ones(2, 1, 6, 7), "(2, 6, 7)"),
        ):
            with pytest.raises(InputError, match=re.escape(word)):
                loss(probabilities, image, weight)
    labeled = torch.ones(2, 6, 7, dtype=torch.bool)
    for gate, given in ((False, labeled), (True, labeled.long())):
        with pytest.raises(InputError, match="labeled"):
            DenseCRFLoss([KERNEL], gate=gate)(probabilities, image, labeled=given)
    with pytest.raises(InputError, match="ROIs"):
        DenseCRFLoss.rloss(1e-3, 20, 10, 1.0)(image, probabilities, image[:, :1])
    for loss in (DenseCRFLoss([KERNEL]), GatedCRFLoss([KERNEL])):
        with pytest.raises(InputError, match="image"):
            loss(probabilities, image[..., :3])
    with pytest.raises(InputError, match="kernels"):
        DenseCRFLoss([Spatial(weight=1, sxy=1)])
    with pytest.raises(InputError, match="scale"):
        DenseCRFLoss([KERNEL], scale=0)
    with pytest.raises(InputError, match="radius"):
        GatedCRFLoss([KERNEL], radius=0)

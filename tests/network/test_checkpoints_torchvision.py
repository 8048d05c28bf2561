import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from torch.nn import functional as F

from atrous.data.transforms import MEAN_BGR
from atrous.network.checkpoints import MEAN_RGB, STD_RGB, from_torchvision, released_colors

GENERATOR = torch.Generator().manual_seed(0)
# As large as torchvision's: conv1_1 has a deviation of about 0.2.
WEIGHT = 0.2 * torch.randn(64, 3, 3, 3, generator=GENERATOR)
BIAS = torch.randn(64, generator=GENERATOR)


def both_features(photo):
    """conv1_1 of torchvision's convention and of ours, of one (H, W, 3) uint8 RGB photo."""
    rgb = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    column = (1, 3, 1, 1)
    theirs = (rgb / 255 - torch.tensor(MEAN_RGB).reshape(column)) / torch.tensor(STD_RGB).reshape(column)
    ours = rgb.flip(1) - torch.tensor(MEAN_BGR).reshape(column)
    weight, bias = from_torchvision(WEIGHT, BIAS)
    return F.conv2d(theirs, WEIGHT, BIAS, padding=1), F.conv2d(ours, weight, bias, padding=1)


def test_features_agree_away_from_the_border():
    photo = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    theirs, ours = both_features(photo)
    assert (theirs - ours)[..., 1:-1, 1:-1].abs().max() < 1e-4
    assert theirs.abs().max() > 3


def test_the_border_differs_by_a_gray_value_of_padding():
    photo = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    theirs, ours = both_features(photo)
    difference = (theirs - ours).abs()
    # In torchvision's units our zeros stand for these colors, its own for 0.
    padding = torch.tensor([(m / 255 - n) / s for m, n, s in zip(MEAN_BGR[::-1], MEAN_RGB, STD_RGB, strict=True)])
    grays = (padding * 255 * torch.tensor(STD_RGB)).abs()
    assert grays.tolist() == pytest.approx([1.0, 0.389, 0.478], abs=1e-3)
    left = -(WEIGHT[:, :, :, 0].sum(dim=2) * padding).sum(dim=1)  # three taps lie outside along the left side
    assert torch.allclose((theirs - ours)[0, :, 5, 0], left, atol=1e-4)
    assert difference.max() < 0.1 < theirs.abs().max()


# Central taps of conv1_1 in the released weights, as the float16 copy has them; drawn again here, not imported.
RELEASED = {
    5: (0.268, -0.236, -0.103),
    19: (-0.156, -0.207, 0.190),
    29: (-0.178, 0.012, 0.279),
    59: (-0.287, 0.176, 0.195),
}


def test_the_released_filters_are_known_in_either_order():
    weight = WEIGHT.clone()
    assert released_colors(weight) is None
    for index, taps in RELEASED.items():
        weight[index, :, 1, 1] = torch.tensor(taps) + 0.004
    assert released_colors(weight) == "bgr"
    assert released_colors(weight.flip(1)) == "rgb"
    assert released_colors(weight[:32]) is None

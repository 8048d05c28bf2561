"""The colors that a VGG-16 was trained on, brought to ours: blue-green-red, 0 to 255, minus the mean pixel."""

import torch
from torch import Tensor

from ..data.transforms import MEAN_BGR

# Of torchvision's ImageNet weights: red-green-blue, 0 to 1, minus the mean, divided by the deviation.
MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)

# Central taps (blue, green, red) of a few filters of conv1_1 in the weights that Simonyan and Zisserman released,
# rounded. Many files descend from these under other projects' names, and some have the colors turned round.
_RELEASED = {
    5: (0.268, -0.236, -0.103),
    19: (-0.156, -0.207, 0.190),
    29: (-0.178, 0.012, 0.279),
    59: (-0.287, 0.176, 0.195),
}
_TOLERANCE = 0.02


def released_colors(weight: Tensor) -> str | None:
    """Tell the color order of conv1_1 if it descends from the released VGG-16 (0 to 255, minus a mean).

    Returns
    -------
    "bgr", "rgb" or None
        None if these are other weights.
    """
    if weight.shape[1:] != (3, 3, 3) or weight.shape[0] <= max(_RELEASED):
        return None
    centers = weight[list(_RELEASED), :, 1, 1].float()
    expected = torch.tensor(list(_RELEASED.values()))
    for order, channels in (("bgr", [0, 1, 2]), ("rgb", [2, 1, 0])):
        if ((centers[:, channels] - expected).abs() < _TOLERANCE).all():
            return order
    return None


def from_torchvision(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Turn torchvision's conv1_1 into one that gives the same features for our input.

    Parameters
    ----------
    weight : Tensor
        (out, 3, 3, 3), for red, green, blue.
    bias : Tensor
        (out,)

    Returns
    -------
    weight, bias : Tensor
        float32, for blue, green, red.

    Notes
    -----
    With u = 255 x - M our input and y = (x - m) / s torchvision's, y = u / (255 s) + (M / 255 - m) / s: the
    factor goes into the weights, and the constant, summed over all taps, into the bias. Away from the border
    that is exact. Beyond it both networks pad with zeros, which stand for another color in each: for the pixel
    m there, for M here. The two differ by 1.0, 0.4 and 0.5 gray values of 255 in red, green and blue. No bias can
    undo that, for it would have to be another at the border; the ring of pixels that sees it is one pixel wide
    at conv1_1.
    """
    weight, bias = weight.double(), bias.double()
    m, s = torch.tensor(MEAN_RGB, dtype=torch.float64), torch.tensor(STD_RGB, dtype=torch.float64)
    ours = torch.tensor(MEAN_BGR[::-1], dtype=torch.float64)
    shift = (ours / 255 - m) / s
    bias = bias + (weight.sum(dim=(2, 3)) * shift).sum(dim=1)
    weight = weight / (255 * s).reshape(1, 3, 1, 1)
    return weight.flip(1).float(), bias.float()

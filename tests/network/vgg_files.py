"""What other projects' files of VGG-16 hold, four channels a layer."""

import json

import torch
from safetensors.torch import save_file

CONVOLUTIONS = [f"conv{s}_{i}" for s, n in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)) for i in range(1, n + 1)]
# nn.Sequential's indices in torchvision's vgg16().features, ReLUs and pools counted.
INDICES = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
KINDS = ("weight", "bias")
FC = 16  # channels of fc6 and fc7 in the narrow VGG-16: four times the narrow variants'


def random(*shape):
    return torch.randn(*shape)


def convolutions():
    """{name: (weight, bias)} of the thirteen."""
    return {name: (random(4, 3 if name == "conv1_1" else 4, 3, 3), random(4)) for name in CONVOLUTIONS}


def vgg():
    """The narrow VGG-16 by Caffe's names; fc6 to fc8 are matrices."""
    layers = convolutions()
    layers["fc6"] = (random(FC, 4 * 49), random(FC))
    layers["fc7"] = (random(FC, FC), random(FC))
    layers["fc8"] = (random(1000, FC), random(1000))
    return layers


def flat(layers, names=lambda name: name):
    return {f"{names(n)}.{kind}": t.clone() for n, pair in layers.items() for kind, t in zip(KINDS, pair, strict=True)}


def values(net):
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def checkpoint(folder, net, **recipe):
    folder.mkdir()
    save_file(net.state_dict(), folder / "model.safetensors")
    state = {"recipe": {"variant": net.variant.name, **recipe}, "classes": [f"class {n}" for n in range(net.classes)]}
    (folder / "state.json").write_text(json.dumps(state | {"training_list": "train", "training_list_sha256": ""}))
    return folder

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous.network.caffemodel import CaffeLayer, branch_names

CHANNELS = {"image": 3, "pool1": 64, "pool2": 128, "pool3": 256, "pool4": 512}
KNOWN = {"conv1_1", "conv1_2", "conv2_1", "conv2_2", "fc6", "fc7", "fc8_voc12"}


def layer(name, bottom, top, *shape):
    connected = ((bottom,), (top,)) if bottom else ((), ())
    return CaffeLayer(name, *connected, (torch.zeros(shape),) if shape else ())


def branch(name, reads, call, *, in_place=True):
    """Three convolutions with ReLUs and dropouts between; `call` makes their names."""
    first, second, last = (call(name, step) for step in range(3))
    between = lambda x: x if in_place else f"{x}_relu"  # noqa: E731
    return [
        layer(first, reads, first, 128, CHANNELS[name], 3, 3),
        layer(f"relu_{first}", first, between(first)),
        layer(f"drop_{first}", between(first), between(first)),
        layer(second, between(first), second, 128, 128, 1, 1),
        layer(f"relu_{second}", second, between(second)),
        layer(last, between(second), last, 21, 128, 1, 1),
    ]


@pytest.mark.parametrize("in_place", [True, False])
def test_branches_are_found_by_what_they_read_not_by_name(in_place):
    """The names are drawn from a hat and say nothing; splits stand between, as Caffe puts them there."""
    rng = np.random.default_rng(0)
    names = {(n, i): f"layer{k}" for (n, i), k in zip(
        [(n, i) for n in CHANNELS for i in range(3)], rng.permutation(15), strict=True)}  # fmt: skip
    call = lambda name, step: names[name, step]  # noqa: E731
    layers = [layer("data_split", "data", "data_split_0"), layer("conv2_2", "conv2_1", "conv2_2", 128, 128, 3, 3)]
    parts = [branch(n, f"{n}_split_0", call, in_place=in_place) for n in CHANNELS]
    # Interleaved: first all first layers, then all ReLUs, ...
    layers += [part[i] for i in range(6) for part in parts]
    layers.append(layer("fc8_voc12", "fc7", "fc8_voc12", 21, 1024, 1, 1))
    found = branch_names(layers, KNOWN)
    steps = ("layer1", "layer2", "classifier")
    assert found == {f"branches.{n}.{step}": names[n, i] for n in CHANNELS for i, step in enumerate(steps)}


def test_without_connections_the_order_tells():
    layers = []
    for name, channels in CHANNELS.items():
        layers += [
            layer(f"{name}_a", "", "", 128, channels, 3, 3),
            layer(f"{name}_b", "", "", 128, 128, 1, 1),
            layer(f"{name}_c", "", "", 7, 128, 1, 1),
        ]
    layers.insert(2, layer("conv2_2", "", "", 128, 128, 3, 3))
    found = branch_names(layers, KNOWN)
    assert found["branches.pool3.layer2"] == "pool3_b"
    assert found["branches.image.layer2"] == "image_b"
    assert len(found) == 15


def test_a_plain_network_has_none():
    layers = [
        layer("conv1_1", "data", "conv1_1", 64, 3, 3, 3),
        layer("conv2_2", "conv1_1", "conv2_2", 128, 128, 3, 3),
        layer("fc8_voc12", "fc7", "fc8_voc12", 21, 1024, 1, 1),
        layer("extra", "fc8_voc12", "extra", 128, 128, 1, 1),
    ]
    assert branch_names(layers, KNOWN) == {}

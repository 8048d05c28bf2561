"""Exported networks become checkpoints again, with few channels a layer."""

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")

from atrous.data.metadata import METADATA_KEY, CrfParameters, ModelMetadata
from atrous.errors import InputError
from atrous.network import DeepLab
from atrous.network._onnx_import import read_exported
from atrous.network.convert import convert
from atrous.network.deeplab import initialize_head
from atrous.network.onnx_export import export_float, export_float16, export_int8
from atrous.network.pretrained_init import start
from atrous.network.torch_backend import TorchEngine

pytestmark = pytest.mark.usefixtures("narrow")

CLASSES = ("background", "red", "blue")
CRF = CrfParameters(weight=7, sxy=33, srgb=5)


def metadata(net):
    return ModelMetadata(
        variant=net.name,
        classes=CLASSES,
        palette=((0, 0, 0), (200, 0, 0), (0, 0, 200)),
        mean=(104.008, 116.669, 122.675),
        crf=CRF,
        training_list="train",
        training_list_sha256="abc",
        precision="float32",
        output_stride=net.output_stride,
    )


def random_network(multiscale=False):
    torch.manual_seed(4)
    net = DeepLab(classes=3, multiscale=multiscale)
    with torch.no_grad():
        initialize_head(net)
        for parameter in net.parameters():
            # Activations keep their size from layer to layer.
            std = (2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.1
            parameter.copy_(torch.randn(parameter.shape) * std)
    return net.eval()


@pytest.mark.parametrize("multiscale", [False, True])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_weights_come_back(tmp_path, precision, multiscale):
    net = random_network(multiscale)
    path = tmp_path / "model.onnx"
    if precision == "int8":
        images = [np.random.default_rng(n).integers(0, 256, (41, 49, 3), dtype=np.uint8) for n in range(2)]
        export_int8(net, path, metadata(net), images)
    else:
        {"float32": export_float, "float16": export_float16}[precision](net, path, metadata(net))
    tensors, found = read_exported(path)
    assert found.precision == precision
    assert tensors.keys() == net.state_dict().keys()
    for name, tensor in net.state_dict().items():
        # int8 has 7 bits for the largest weight of a channel; biases have the step of the products that they join.
        step = {"float32": 1e-7, "float16": 1e-3, "int8": 1 / 63}[precision] * tensor.abs().max().item()
        if precision == "int8" and name.endswith(".bias"):
            step = 0.03
        assert (tensors[name] - tensor).abs().max().item() <= step, name


@pytest.mark.parametrize("multiscale", [False, True])
def test_an_export_becomes_a_checkpoint_that_runs(tmp_path, multiscale):
    net = random_network(multiscale)
    export_float(net, tmp_path / "model.onnx", metadata(net))
    done = convert(tmp_path / "model.onnx", tmp_path / "checkpoint")
    assert done.drawn == ()
    engine = TorchEngine.read(tmp_path / "checkpoint")
    assert engine.net.name == net.name
    assert engine.metadata == metadata(net)
    image = np.random.default_rng(0).integers(0, 256, (41, 49, 3), dtype=np.uint8)
    expected = TorchEngine(net, metadata(net)).scores(image)
    np.testing.assert_allclose(engine.scores(image), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("multiscale", [False, True])
def test_other_classes_get_a_new_classifier(tmp_path, multiscale):
    net = random_network(multiscale)
    export_float(net, tmp_path / "model.onnx", metadata(net))
    other = DeepLab(classes=3, multiscale=multiscale)
    done = start(other, tmp_path / "model.onnx", classes=("background", "cat", "dog"))
    classifiers = [name for name in net.state_dict() if name.endswith(("fc8.weight", "classifier.weight"))]
    assert [f"{name}.weight" for name in done.drawn] == classifiers
    assert any("fc8" in line and "red" in line for line in done.unused)
    assert torch.equal(other.fc7.weight, net.fc7.weight)
    assert not torch.equal(other.fc8.weight, net.fc8.weight)
    same = DeepLab(classes=3, multiscale=multiscale)
    assert start(same, tmp_path / "model.onnx", classes=CLASSES).drawn == ()


def test_a_checkpoint_of_other_classes_gets_a_new_classifier(tmp_path):
    net = random_network()
    export_float(net, tmp_path / "model.onnx", metadata(net))
    convert(tmp_path / "model.onnx", tmp_path / "checkpoint")
    done = start(DeepLab(classes=3), tmp_path / "checkpoint", classes=("a", "b", "c"))
    assert done.drawn == ("fc8",)


def test_other_onnx_files_are_refused(tmp_path, make_model):
    foreign = make_model(tmp_path / "foreign.onnx", metadata=None)
    with pytest.raises(InputError, match="metadata"):
        read_exported(foreign)
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(foreign.read_bytes()[:-40])
    with pytest.raises(InputError, match="damaged.onnx"):
        read_exported(damaged)


def test_a_network_that_reads_other_colors_is_refused(tmp_path):
    net = random_network()
    text = dataclasses.replace(metadata(net), color_order="RGB").to_json()
    export_float(net, tmp_path / "model.onnx", metadata(net))
    model = onnx.load(tmp_path / "model.onnx")
    onnx.helper.set_model_props(model, {METADATA_KEY: text})
    onnx.save(model, tmp_path / "model.onnx")
    assert json.loads(text)["color_order"] == "RGB"
    with pytest.raises(InputError, match="RGB"):
        read_exported(tmp_path / "model.onnx")

import json
import struct

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from safetensors.torch import save_file

from atrous.errors import InputError
from atrous.network.deeplab import DeepLab, initialize_head
from atrous.network.weights import drawn_by_conversion, load_weights, read_tensors


def test_weights_of_another_network_are_refused(tmp_path):
    net = DeepLab(classes=2)
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    same = DeepLab(classes=2)
    load_weights(same, tmp_path / "model.safetensors")
    assert torch.equal(same.fc8.weight, net.fc8.weight)
    with pytest.raises(InputError, match=r"model\.safetensors: .*deeplab-largefov with 3 classes \(.*fc8"):
        load_weights(DeepLab(classes=3), tmp_path / "model.safetensors")


def test_mistakes_name_the_file(tmp_path):
    path = tmp_path / "vgg.safetensors"
    with pytest.raises(InputError, match=r"vgg\.safetensors: no such file"):
        read_tensors(path)
    path.write_text("not tensors")
    with pytest.raises(InputError, match="expected a safetensors file"):
        read_tensors(path)


def test_the_head_starts_small_and_without_bias():
    net = DeepLab()
    initialize_head(net, torch.Generator().manual_seed(0))
    assert net.fc6.weight.std().item() == pytest.approx(0.008, rel=0.02)
    assert net.fc7.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert net.fc8.weight.std().item() == pytest.approx(0.002, rel=0.05)
    assert not net.fc8.bias.any()


@pytest.mark.fault(
    "NaN or infinity in weights",
    "One line names the file and the tensor.",
    of=("segment", "train", "evaluate", "export"),
)
@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_named(narrow, tmp_path, bad):
    net = DeepLab(classes=2)
    with torch.no_grad():
        net.conv3_2.weight[1, 2, 0, 0] = bad
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors: conv3_2\.weight holds NaN"):
        load_weights(DeepLab(classes=2), tmp_path / "model.safetensors")


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_weights_of_another_kind_are_named(narrow, tmp_path, dtype):
    tensors = DeepLab(classes=2).state_dict() | {"fc8.bias": torch.zeros(2, dtype=dtype)}
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"fc8\.bias'? holds"):
        load_weights(DeepLab(classes=2), tmp_path / "model.safetensors")


def test_a_double_beyond_float32_is_found(narrow, tmp_path):
    tensors = DeepLab(classes=2).state_dict() | {"fc8.bias": torch.full((2,), 1e300, dtype=torch.float64)}
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"fc8\.bias'? holds"):
        load_weights(DeepLab(classes=2), tmp_path / "model.safetensors")


def entry(dtype="F32", shape=(1,), start=0, end=4):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{{{",
        b"null",
        b"1e999",
        b'{"\xff": 1}',
        b'{"a":' + b"[" * 100_000,
        {"a": entry("F33")},
        {"a": entry(shape=(-1,))},
        {"a": entry(shape=(2**62, 4))},
        {"a": entry(shape=(2**63, 2))},
        {"a": entry(shape=(1.5,))},
        {"a": entry(), "b": entry()},
        {"a": entry(start=4, end=8)},
        {"a": entry(start=4, end=0)},
        {"a": entry(start=2**63, end=2**63 + 4)},
        {"a": entry(shape=(4,), end=16)},
        {"__metadata__": {"atrous": [1]}},
        {f"tensor {i}": entry(shape=(0,), end=0) for i in range(20_000)},
    ],
)
def test_a_header_that_cannot_be_right_is_one_line(tmp_path, header):
    path = tmp_path / "weights.safetensors"
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(InputError, match=r"weights\.safetensors: ") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [0, 1000, 2**63 - 1, 2**64 - 1])
def test_a_header_of_another_length(tmp_path, length):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(InputError, match="expected a safetensors file"):
        read_tensors(path)


def test_a_deep_note_is_somebody_elses(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"atrous": "[" * 100_000})
    assert drawn_by_conversion(path) == []

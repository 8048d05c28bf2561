import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from safetensors.torch import save_file

from atrous.network.checkpoints import read_weight_file


@settings(deadline=None, max_examples=80)
@given(padding=st.integers(0, 300))
def test_safetensors_are_known_whatever_the_length_of_their_header(tmp_path_factory, padding):
    """The length stands first, and its lowest byte may be a pickle's 0x80 or a zip's P."""
    path = tmp_path_factory.mktemp("lengths") / "vgg.safetensors"
    tensors = {"conv1_1.weight": torch.zeros(2, 3, 3, 3), "conv1_1.bias": torch.zeros(2)}
    save_file(tensors, path, {"padding": "x" * padding})
    file = read_weight_file(path)
    assert file.format == "layers by name (safetensors)"
    assert file.layers["conv1_1"][0].shape == (2, 3, 3, 3)


def test_the_released_colors_turn_round_whatever_the_names(tmp_path):
    released = {5: (0.268, -0.236, -0.103), 19: (-0.156, -0.207, 0.190), 29: (-0.178, 0.012, 0.279)}
    weight = torch.zeros(64, 3, 3, 3)
    for index, taps in {**released, 59: (-0.287, 0.176, 0.195)}.items():
        weight[index, :, 1, 1] = torch.tensor(taps)
    bias = torch.ones(64)
    for prefix, shown, notes in (
        ("conv1_1", weight, ()),
        ("conv1_1", weight.flip(1), ("converted from red-green-blue",)),
        ("features.0", weight, ("unchanged",)),
        ("features.0", weight.flip(1), ("converted from red-green-blue",)),
    ):
        save_file({f"{prefix}.weight": shown.contiguous(), f"{prefix}.bias": bias}, tmp_path / "a.safetensors")
        file = read_weight_file(tmp_path / "a.safetensors")
        assert torch.equal(file.layers["conv1_1"][0], weight)
        assert torch.equal(file.layers["conv1_1"][1], bias)
        assert len(file.notes) == len(notes)
        assert all(part in note for part, note in zip(notes, file.notes, strict=True))


@pytest.mark.parametrize("header", ["", "[]", "{", '{"drawn": 3}', '{"other": 1}'])
def test_another_header_under_our_key_does_no_harm(tmp_path, header):
    tensors = {"conv1_1.weight": torch.zeros(2, 3, 3, 3), "conv1_1.bias": torch.zeros(2)}
    save_file(tensors, tmp_path / "a.safetensors", {"atrous": header})
    assert read_weight_file(tmp_path / "a.safetensors").notes == []

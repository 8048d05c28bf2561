import importlib.util
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from safetensors.torch import load_file, save_file

from atrous.network.deeplab import DeepLab
from atrous.network.torch_backend import TorchEngine

SCRIPT = Path(__file__).parents[2] / "examples" / "average" / "average_checkpoints.py"
CRF = {"weight": 5.0, "sxy": 65.0, "srgb": 4.0, "spatial_weight": 3.0}


@pytest.fixture
def average():
    spec = importlib.util.spec_from_file_location("average_checkpoints", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.average


@pytest.fixture
def write(tmp_path):
    def checkpoint(name, value, crf):
        folder = tmp_path / name
        folder.mkdir()
        net = DeepLab(classes=2)
        save_file(
            {key: torch.full_like(tensor, value) for key, tensor in net.state_dict().items()},
            folder / "model.safetensors",
        )
        state = {
            "recipe": {"variant": "deeplab-largefov"},
            "classes": ["background", "cat"],
            "training_list": "train",
            "training_list_sha256": "0",
            "crf": crf,
        }
        (folder / "state.json").write_text(json.dumps(state))
        return folder

    return checkpoint


def test_weights_and_crfs_are_averaged(average, write, tmp_path):
    first = write("first", 1.0, CRF)
    second = write("second", 2.0, CRF | {"weight": 4.0, "spatial_weight": 2.0, "srgb": 6.0})
    average(first, second, tmp_path / "mean")
    tensors = load_file(tmp_path / "mean" / "model.safetensors")
    assert all((tensor == 1.5).all() for tensor in tensors.values())
    engine = TorchEngine.read(tmp_path / "mean")
    crf = engine.metadata.crf
    assert (crf.weight, crf.spatial_weight, crf.sxy, crf.srgb) == (4.5, 2.5, 65, 6)
    assert not list(tmp_path.glob(".*"))


def test_other_classes_and_existing_folders_are_refused(average, write, tmp_path):
    first, second = write("first", 1.0, CRF), write("second", 2.0, CRF)
    with pytest.raises(SystemExit, match="exists"):
        average(first, second, first)
    state = json.loads((second / "state.json").read_text())
    (second / "state.json").write_text(json.dumps(state | {"classes": ["background", "dog"]}))
    with pytest.raises(SystemExit, match="classes"):
        average(first, second, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()

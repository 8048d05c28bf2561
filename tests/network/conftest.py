import json

import numpy as np
import pytest


@pytest.fixture
def photo():
    """72 x 96 pixels in squares of 8 x 8."""
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))


@pytest.fixture
def write_checkpoint(tmp_path):
    """Return a function that writes a network of three classes, of random weights that keep the size of activations."""
    torch = pytest.importorskip("torch", reason="needs the extra 'train'")
    from safetensors.torch import save_file

    from atrous.network.deeplab import DeepLab

    def write(**state):
        recipe = {"variant": "deeplab-largefov", **state.pop("recipe", {})}
        torch.manual_seed(0)
        net = DeepLab(recipe["variant"], classes=3, multiscale=recipe.get("multiscale", False))
        for parameter in net.parameters():
            if parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter)
            else:
                torch.nn.init.zeros_(parameter)
        folder = tmp_path / "checkpoint-000007"
        folder.mkdir()
        save_file(net.state_dict(), folder / "model.safetensors")
        classes = ["background", "cat", "dog"]
        whole = {"step": 7, "recipe": recipe, "classes": classes, "training_list": "train"}
        (folder / "state.json").write_text(json.dumps({**whole, "training_list_sha256": "0" * 64, **state}))
        return folder

    return write

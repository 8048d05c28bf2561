"""A training checkpoint as an engine of the segmenter."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.crops import MEAN_BGR, network_input
from ..data.metadata import CrfParameters, ModelMetadata
from ..errors import InputError
from ..palette import voc_palette
from .deeplab import DeepLab
from .weights import load_weights

# The files of a checkpoint folder that a network is read from; training writes more beside them.
MODEL, STATE = "model.safetensors", "state.json"

# Of the released LargeFOV model: until a search has found a model's own.
RELEASED_LARGEFOV = CrfParameters(weight=4, sxy=121, srgb=5)


class TorchEngine:
    """Runs the network of a checkpoint folder in PyTorch.

    Parameters
    ----------
    folder : path
        As written by training: `model.safetensors` and `state.json`.
    device : str
        "cpu" or "cuda".
    crf : CrfParameters, optional
        Stored in the metadata; those of the released LargeFOV model if left out.

    Attributes
    ----------
    metadata : ModelMetadata
    net : DeepLab
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, device: str = "cpu", crf: CrfParameters = RELEASED_LARGEFOV
    ) -> None:
        folder = Path(folder)
        state = read_state(folder)
        self.net = DeepLab(state["recipe"]["variant"], classes=len(state["classes"]))
        load_weights(self.net, folder / MODEL)
        self.device = device
        self.net.eval().to(device)
        self.metadata = ModelMetadata(
            variant=self.net.variant.name,
            classes=tuple(state["classes"]),
            palette=tuple((int(r), int(g), int(b)) for r, g, b in voc_palette(len(state["classes"]))),
            mean=MEAN_BGR,
            crf=crf,
            training_list=state["training_list"],
            training_list_sha256=state["training_list_sha256"],
            precision="float32",
        )

    def scores(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 RGB to (C, h, w) float32 scores on the stride-8 grid of the padded image."""
        blob = torch.from_numpy(network_input(image))[None].to(self.device)
        with torch.inference_mode():
            scores: NDArray[np.float32] = self.net(blob)[0].float().cpu().numpy()
        return scores


def read_state(folder: Path) -> dict[str, Any]:
    """Read `state.json` of a checkpoint folder.

    Raises
    ------
    InputError
        If it is missing or lacks what a network needs.
    """
    path = folder / STATE
    if not path.is_file():
        raise InputError(f"{folder}: expected a checkpoint folder with {STATE} and {MODEL} in it")
    try:
        state: dict[str, Any] = json.loads(path.read_text())
        state["recipe"]["variant"], state["classes"], state["training_list"], state["training_list_sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the state of a checkpoint ({error!r})") from None
    return state

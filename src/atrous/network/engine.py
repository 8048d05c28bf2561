"""A network or a training checkpoint as an engine of the segmenter."""

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
    """Runs a network in PyTorch.

    Parameters
    ----------
    net : DeepLab
        Put into evaluation mode and moved to the device.
    metadata : ModelMetadata
        Of this network: the same classes and output stride.
    device : str
        "cpu" or "cuda".

    Attributes
    ----------
    net : DeepLab
    metadata : ModelMetadata
    device : str

    Raises
    ------
    InputError
        If the metadata is not of such a network.
    """

    def __init__(self, net: DeepLab, metadata: ModelMetadata, *, device: str = "cpu") -> None:
        if (len(metadata.classes), metadata.output_stride) != (net.classes, net.output_stride):
            raise InputError(
                f"metadata of {len(metadata.classes)} classes at stride {metadata.output_stride} for a network of"
                f" {net.classes} at stride {net.output_stride}: expected the same"
            )
        self.net = net.eval().to(device)
        self.metadata = metadata
        self.device = device

    @classmethod
    def read(
        cls, folder: str | os.PathLike[str], *, device: str = "cpu", crf: CrfParameters = RELEASED_LARGEFOV
    ) -> "TorchEngine":
        """Read a checkpoint folder.

        Parameters
        ----------
        folder : path
            As written by training: `model.safetensors` and `state.json`.
        device : str
        crf : CrfParameters
            Stored in the metadata.

        Raises
        ------
        InputError
            If the folder is no checkpoint, or its two files do not fit each other.
        """
        folder = Path(folder)
        state = read_state(folder)
        classes, recipe = tuple(state["classes"]), state["recipe"]
        palette = state.get("palette") or voc_palette(len(classes))
        try:
            net = DeepLab(recipe["variant"], classes=len(classes), multiscale=recipe.get("multiscale", False))
            metadata = ModelMetadata(
                variant=net.name,
                classes=classes,
                palette=tuple((int(r), int(g), int(b)) for r, g, b in palette),
                mean=MEAN_BGR,
                crf=crf,
                training_list=state["training_list"],
                training_list_sha256=state["training_list_sha256"],
                precision="float32",
                output_stride=net.output_stride,
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"{folder / STATE}: not the state of a checkpoint ({error})") from None
        load_weights(net, folder / MODEL)
        return cls(net, metadata, device=device)

    def scores(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 RGB to (C, h, w) float32 scores of the padded image, on the network's output stride."""
        blob = network_input(image, self.metadata.mean, self.metadata.colour_order)
        with torch.inference_mode():
            (scores,) = self.net(torch.from_numpy(blob)[None].to(self.device))
        return scores.float().cpu().numpy()


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

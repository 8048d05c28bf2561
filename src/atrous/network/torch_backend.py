"""PyTorch engine of the segmenter, for a network or a training checkpoint."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._resources import cuda_index
from .._settings_files import read_json
from ..data.metadata import CONFIG, CrfParameters, ModelMetadata, check_classes, tuples
from ..data.transforms import MEAN_BGR, network_input
from ..errors import ComputeError, InputError
from ..labelmap import voc_palette
from .deeplab import DeepLab
from .variants import variant_of
from .weights import load_weights

# Files of a checkpoint folder that define a network; training writes further files.
MODEL, STATE = "model.safetensors", "state.json"

# CRF parameters of the released LargeFOV model, used until a search has found a model's own.
RELEASED_LARGEFOV = CrfParameters(weight=4, sxy=121, srgb=5)


class TorchEngine:
    """Engine for a network in PyTorch.

    Parameters
    ----------
    net : DeepLab
        Set to evaluation mode and moved to the device.
    metadata : ModelMetadata
        Metadata of this network, with the same classes and output stride.
    device : str or None
        "cpu", "cuda" or "cuda:N"; None for CUDA if PyTorch finds a GPU, else the CPU.
    threads : int, optional
        Threads of one forward pass on the CPU, a setting of the whole process. Default: PyTorch's choice.

    Attributes
    ----------
    net : DeepLab
    metadata : ModelMetadata
    device : str

    Raises
    ------
    InputError
        If the metadata does not match the network, or the device is not available.
    """

    name = "pytorch"

    def __init__(
        self, net: DeepLab, metadata: ModelMetadata, *, device: str | None = "cpu", threads: int | None = None
    ) -> None:
        if (len(metadata.classes), metadata.output_stride) != (net.classes, net.output_stride):
            raise InputError(
                f"metadata: expected {net.classes} classes at stride {net.output_stride} as in the network, got"
                f" {len(metadata.classes)} at stride {metadata.output_stride}"
            )
        self.metadata = metadata
        self.device = usable_device(device)
        self.threads = threads
        self.net = net.eval().to(self.device)

    @classmethod
    def read(
        cls,
        folder: str | os.PathLike[str],
        *,
        device: str | None = "cpu",
        crf: CrfParameters | None = None,
        threads: int | None = None,
    ) -> "TorchEngine":
        """Read a folder: a training checkpoint, or the output of the segmenter's `save_pretrained`.

        Parameters
        ----------
        folder : path
            Folder with `model.safetensors` and `state.json` (training), or `model.safetensors` and `config.json`.
        device : str or None
        crf : CrfParameters, optional
            CRF parameters for the metadata. Default: those of the folder; for a training checkpoint the released
            LargeFOV's.
        threads : int, optional

        Raises
        ------
        InputError
            If the folder is neither, its two files do not match, or the device is not available.
        """
        folder = Path(folder)
        device = usable_device(device)
        saved = (folder / CONFIG).is_file() and not (folder / STATE).is_file()
        net, metadata = _from_config(folder / CONFIG) if saved else _from_state(folder)
        if crf is not None:
            metadata = dataclasses.replace(metadata, crf=crf)
        load_weights(net, folder / MODEL)
        return cls(net, metadata, device=device, threads=threads)

    def scores(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map (H, W, 3) uint8 RGB to (C, h, w) float32 scores of the padded image, on the network's output stride.

        Raises
        ------
        ComputeError
            If PyTorch fails, for example for lack of memory.
        InputError
            If the scores contain NaN or infinity.
        """
        blob = network_input(image, self.metadata.mean, self.metadata.color_order)
        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                (computed,) = self.net(torch.from_numpy(blob)[None].to(self.device))
            scores = computed.float().cpu().numpy()
        except RuntimeError as error:  # full GPU memory, or a lost GPU
            raise ComputeError.of_network(image.shape, self.device, error) from error
        self.metadata.check_scores(scores, blob.shape[1:], self.net.name)
        return scores


def usable_device(device: str | None) -> str:
    """Return a device for PyTorch; None means CUDA if there is a GPU.

    Raises
    ------
    InputError
        If the device is unknown, or PyTorch finds no such GPU.
    """
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    index = cuda_index(device)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index is not None and index >= found:
        built = "finds no GPU" if not found else f"finds {found}"
        built = built if torch.version.cuda else "is a build without CUDA"
        raise InputError(f"device={device!r}: expected a device of the installed PyTorch, which {built}; use 'cpu'")
    return device


def _from_state(folder: Path) -> tuple[DeepLab, ModelMetadata]:
    state = read_state(folder)
    classes, recipe = tuple(state["classes"]), state["recipe"]
    palette = state.get("palette") or voc_palette(len(classes)).tolist()
    try:
        net = DeepLab(recipe["variant"], classes=len(classes), multiscale=recipe.get("multiscale", False))
        metadata = ModelMetadata(
            variant=net.name,
            classes=classes,
            palette=tuples(palette),
            mean=MEAN_BGR,
            crf=CrfParameters(**state["crf"]) if "crf" in state else RELEASED_LARGEFOV,
            training_list=state["training_list"],
            training_list_sha256=state["training_list_sha256"],
            precision="float32",
            output_stride=net.output_stride,
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder / STATE}: expected the state of a checkpoint ({error})") from None
    return net, metadata


def _from_config(path: Path) -> tuple[DeepLab, ModelMetadata]:
    values = read_json(path, "settings of save_pretrained")
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected settings of save_pretrained, got {type(values).__name__}")
    metadata = ModelMetadata.from_values(values.get("metadata"), str(path))
    try:
        name, multiscale = variant_of(metadata.variant)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return DeepLab(name, classes=len(metadata.classes), multiscale=multiscale), metadata


def read_state(folder: Path) -> dict[str, Any]:
    """Read `state.json` of a checkpoint folder.

    Raises
    ------
    InputError
        If it is missing, cannot be read or lacks a value that a network needs.
    """
    path = folder / STATE
    if not path.is_file():
        newest = sorted(folder.glob(f"checkpoint-*/{STATE}"))
        remedy = f"; use {newest[-1].parent}" if newest else ""
        raise InputError(f"{folder}: expected a checkpoint folder with {STATE} and {MODEL}{remedy}")
    state = read_json(path, "the state of a checkpoint")
    recipe = state.get("recipe") if isinstance(state, dict) else None
    if not isinstance(recipe, dict):
        raise InputError(f"{path}: expected the state of a checkpoint, got no recipe")
    for name, value, kind, expected in (
        ("variant", recipe.get("variant"), str, "a name"),
        ("multiscale", recipe.get("multiscale", False), bool, "true or false"),
        ("classes", state.get("classes"), list, "a list"),
        ("palette", state.get("palette", []), list, "a list"),
        ("training_list", state.get("training_list"), str, "a name"),
        ("training_list_sha256", state.get("training_list_sha256"), str, "a hash"),
    ):
        if not isinstance(value, kind):
            raise InputError(
                f"{path}: expected the state of a checkpoint ({name}: expected {expected}, got {value!r:.60})"
            )
    try:
        check_classes(tuple(state["classes"]))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return dict(state)

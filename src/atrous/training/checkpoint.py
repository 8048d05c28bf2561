"""Checkpoints: safetensors and JSON in a folder, whole or not there, enough to go on to the bit."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import InputError
from ..network.engine import MODEL, STATE, read_state
from ..network.weights import read_tensors
from .recipe import Recipe

OPTIMIZER = "optimizer.safetensors"


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint says beside its tensors.

    Attributes
    ----------
    step : int
        Steps done. Order, crops and dropout are functions of seed and step, so this number is all
        the random state there is.
    recipe : Recipe
    classes : tuple of str
    training_list, training_list_sha256 : str
    versions : dict of str to str
        Of atrous and torch.
    """

    step: int
    recipe: Recipe
    classes: tuple[str, ...]
    training_list: str
    training_list_sha256: str
    versions: dict[str, str]

    def to_json(self) -> str:
        """Return the text of `state.json`."""
        values = {**self.__dict__, "recipe": self.recipe.as_dict()}
        return json.dumps(values, indent=1)

    @classmethod
    def read(cls, folder: Path) -> "TrainingState":
        """Read a checkpoint folder's state; InputError where there is none."""
        values = read_state(folder)
        values["recipe"] = Recipe.from_dict(values["recipe"])
        values["classes"] = tuple(values["classes"])
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"{folder / STATE}: not the state of a checkpoint ({error})") from None


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Flatten the optimiser's state to `layer.weight/exp_avg` and the like."""
    tensors = {}
    for group in optimizer.param_groups:
        (parameter,) = group["params"]
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{group['name']}/{key}"] = value
    return tensors


def save(folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState, keep: int = 3) -> Path:
    """Write `folder/checkpoint-<step>` and drop all but the newest `keep` of its kind.

    The folder is written under a temporary name, synced and renamed.
    """
    target = folder / f"checkpoint-{state.step:06d}"
    temporary = folder / f".{target.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, temporary / MODEL)
    save_file({k: v.contiguous() for k, v in _optimizer_tensors(optimizer).items()}, temporary / OPTIMIZER)
    (temporary / STATE).write_text(state.to_json())
    for path in temporary.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a run's folder, oldest first."""
    return sorted(p for p in folder.glob("checkpoint-*") if (p / STATE).is_file())


def load_optimizer(path: Path, optimizer: torch.optim.Optimizer) -> None:
    """Inverse of `_optimizer_tensors`, in place."""
    tensors = read_tensors(path / OPTIMIZER)
    for group in optimizer.param_groups:
        (parameter,) = group["params"]
        prefix = f"{group['name']}/"
        found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if found:
            optimizer.state[parameter] = found

"""Checkpoints: folders of safetensors and JSON from which a run resumes with the same bits."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from .._io import remove_folder, remove_stale, replacing_folder
from ..data.metadata import CrfParameters, check_palette, tuples
from ..errors import InputError, as_input_error
from ..evaluation.run_info import TRAINING_LIST
from ..network.deeplab import DeepLab
from ..network.torch_backend import MODEL, STATE, read_state
from ..network.weights import read_tensors
from .config import Recipe
from .end_to_end import EndToEnd, split

OPTIMIZER = "optimizer.safetensors"

# The CRF's parameters as the layer has them, for the same bits.
CRF = "crf.safetensors"

_NAME = re.compile(r"checkpoint-[0-9]{6,}")


LOCK = ".lock"


@dataclass(frozen=True)
class TrainingState:
    """Contents of `state.json` in a checkpoint.

    Attributes
    ----------
    step : int
        Completed steps. Order, crops and dropout are functions of seed and step, so there is no other random state.
    recipe : Recipe
    classes : tuple of str
    palette : tuple of (red, green, blue)
        Color of each class.
    training_list, training_list_sha256 : str
    start : str
        File name and format of the initial weights.
    versions : dict of str to str
        Versions of atrous (with its git revision in a clone), Python and torch.
    void : tuple of int
        Label ids that were read as void, besides 255.
    crf : CrfParameters, optional
        The CRF that was trained with the network.
    start_sha256 : str
        Hash of the initial weights; empty in older checkpoints.
    files_sha256 : str
        Hash of the training images' names and of the sizes of their files; empty in older checkpoints.
    sha256 : dict of str to str
        Hashes of the checkpoint's other files, by name.
    """

    step: int
    recipe: Recipe
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    training_list: str
    training_list_sha256: str
    start: str
    versions: dict[str, str]
    void: tuple[int, ...] = ()
    crf: CrfParameters | None = None
    start_sha256: str = ""
    files_sha256: str = ""
    sha256: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the contents of `state.json`."""
        values = {**self.__dict__, "recipe": self.recipe.as_dict()}
        if self.crf is None:
            del values["crf"]
        else:
            values["crf"] = asdict(self.crf)
        return json.dumps(values, indent=1)

    @classmethod
    def read(cls, folder: Path) -> "TrainingState":
        """Read the state of a checkpoint folder; raise InputError if it has none."""
        values = read_state(folder)
        try:
            values["recipe"] = Recipe.from_dict(values["recipe"])
            values["classes"] = tuple(values["classes"])
            values["palette"] = tuples(values["palette"])
            check_palette(values["palette"], len(values["classes"]))
            values["void"] = tuple(values.get("void", ()))
            if "crf" in values:
                values["crf"] = CrfParameters(**values["crf"])
            state = cls(**values)
            for name, kind in (
                *(("step", int), ("start", str), ("versions", dict), ("sha256", dict)),
                *(("start_sha256", str), ("files_sha256", str)),
            ):
                if not isinstance(getattr(state, name), kind):
                    raise InputError(f"{name}: expected {kind.__name__}, got {getattr(state, name)!r:.60}")
            if state.step < 0:
                raise InputError(f"step: expected 0 or more, got {state.step}")
            if outside := [name for name in state.sha256 if Path(name).name != name]:
                raise InputError(f"sha256: expected files beside {STATE}, got {outside[0]!r:.60}")
            return state
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder / STATE}: expected the state of a checkpoint ({error})") from None


def save(
    folder: Path,
    model: DeepLab | EndToEnd,
    optimizer: torch.optim.Optimizer,
    state: TrainingState,
    names: tuple[str, ...],
    keep: int = 3,
) -> Path:
    """Write `folder/checkpoint-<step>` and delete all but the newest `keep` checkpoints.

    The folder is written under a temporary name, synced and renamed.

    Parameters
    ----------
    folder : path
        Folder of the run.
    model, optimizer, state
    names : tuple of str
        Names of the training images, which let an evaluation detect overlap.
    keep : int
        Number of checkpoints.

    Raises
    ------
    InputError
        If it cannot be written, for example on a full disk, or a weight is not finite; earlier checkpoints are
        unchanged.
    """
    target = checkpoint_folder(folder, state.step)
    net, crf = split(model)
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise InputError(
                f"{target}: not written, as {name} holds NaN or infinity after step {state.step}; lower the learning"
                " rate"
                " and start in another folder"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Temporary files of a run that was killed. No other run writes here: see `run_lock`.
        remove_stale(folder, alone=True)
        with replacing_folder(target) as temporary:
            save_file({k: v.contiguous() for k, v in net.state_dict().items()}, temporary / MODEL)
            if isinstance(model, EndToEnd):
                save_file({k: v.contiguous() for k, v in model.crf.state_dict().items()}, temporary / CRF)
            save_file({k: v.contiguous() for k, v in _optimizer_tensors(optimizer).items()}, temporary / OPTIMIZER)
            text = "".join(f"{name}\n" for name in names)
            # File names may be invalid Unicode.
            (temporary / TRAINING_LIST).write_bytes(text.encode("utf-8", "surrogateescape"))
            hashes = {path.name: _sha256(path) for path in sorted(temporary.iterdir())}
            (temporary / STATE).write_text(replace(state, crf=crf, sha256=hashes).to_json(), encoding="utf-8")
        for old in checkpoints(folder)[:-keep]:
            remove_folder(old)
    except (OSError, SafetensorError) as error:
        newest = checkpoints(folder)
        where = f"; {newest[-1].name} is intact" if newest else ""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InputError(
            f"{target}: cannot be written ({reason}){where}; make room and run the same command again"
        ) from None
    return target


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Return the path of a step's checkpoint."""
    return folder / f"checkpoint-{step:06d}"


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a run's folder, oldest first; copies under other names are ignored."""
    found = [p for p in folder.glob("checkpoint-*") if _NAME.fullmatch(p.name) and (p / STATE).is_file()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def newest_intact(folder: Path, warn: Callable[[str], None]) -> tuple[Path, TrainingState] | None:
    """Return the newest undamaged checkpoint and its state; None if there are no checkpoints.

    Parameters
    ----------
    folder : path
        Folder of the run.
    warn : callable
        Called with one line for each damaged checkpoint that is skipped.

    Raises
    ------
    InputError
        If there are checkpoints but all are damaged.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            state = TrainingState.read(path)
            for name, expected in state.sha256.items():
                if not (path / name).is_file() or _sha256(path / name) != expected:
                    raise InputError(f"{path / name}: damaged (its hash differs)")
            return path, state
        except (InputError, OSError) as error:
            warn(f"{path.name} is skipped: {error}")
    if found:
        raise InputError(
            f"{folder}: expected an undamaged checkpoint, but all {len(found)} are damaged; start in another folder"
        )
    return None


def load_optimizer(path: Path, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Load an optimizer's state from a checkpoint's folder, in place."""
    tensors = read_tensors(path / OPTIMIZER)
    for group in optimizer.param_groups:
        (parameter,) = group["params"]
        prefix = f"{group['name']}/"
        found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if found:
            # AdamW's step counter stays on the CPU.
            optimizer.state[parameter] = {k: v if k == "step" else v.to(device) for k, v in found.items()}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Flatten the optimizer's state to tensors with names such as `layer.weight/exp_avg`."""
    tensors = {}
    for group in optimizer.param_groups:
        (parameter,) = group["params"]
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{group['name']}/{key}"] = value
    return tensors


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder during the block. The folder is created if it does not exist.

    The system releases the lock of a process that dies. Without file locks (Windows, some network disks), other runs
    are not detected.

    Raises
    ------
    InputError
        If another run holds the lock, or the folder cannot be created.
    """
    with as_input_error(folder, "created", "; choose a writable folder"):
        folder.mkdir(parents=True, exist_ok=True)
        # Opened for appending, so that a process without the lock does not delete the name of its owner.
        file = (folder / LOCK).open("a+", encoding="utf-8")
    with file:
        if not _locked(file.fileno()):
            file.seek(0)
            owner = file.read().strip() or "a process"
            raise InputError(
                f"{folder}: another run is writing to it ({owner}); wait until it ends, or choose another folder"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def _locked(descriptor: int) -> bool:
    """Acquire the lock; return False if another process has it."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        # Not flock: data-loading processes would hold its locks after the training process is killed.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a disk without locks
        return True
    return True

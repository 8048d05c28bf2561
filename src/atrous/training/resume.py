"""Start of a run: from its newest checkpoint, or from initial weights."""

import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from .._printable import printable
from .._provenance import git_revision, versions
from ..data.dataset import Dataset
from ..data.metadata import CrfParameters, tuples
from ..data.samples import ImageList
from ..errors import InputError
from ..evaluation.run_info import TRAINING_LIST
from ..evaluation.tuning_samples import model_sha256
from ..network.convert import known_state
from ..network.deeplab import DeepLab
from ..network.pretrained_init import start as init_from
from ..network.torch_backend import MODEL
from ..network.weights import load_weights, read_tensors
from .checkpoint import CRF, TrainingState, checkpoint_folder, load_optimizer, newest_intact
from .config import Recipe
from .distributed import Processes
from .end_to_end import EndToEnd, split


def start_or_resume(
    folder: Path,
    model: DeepLab | EndToEnd,
    optimizer: torch.optim.Optimizer,
    images: ImageList,
    recipe: Recipe,
    dataset: Dataset,
    start: Path | None,
    group: Processes,
    console: Console,
) -> TrainingState:
    """Load a network and its optimizer from a run's newest checkpoint, or the network from its initial weights.

    Raises
    ------
    InputError
        If the run in `folder` has another recipe, other images, classes or initial weights, the processes find
        different checkpoints, or there are no initial weights.
    """

    def report(text: str) -> None:
        lines = "\n".join(map(printable, text.split("\n")))
        console.print(lines, highlight=False, markup=False, soft_wrap=True)

    state = TrainingState(
        step=0,
        recipe=recipe,
        classes=dataset.classes,
        palette=tuples(dataset.palette.tolist()),
        training_list=images.name,
        training_list_sha256=images.sha256,
        start="",
        versions=_versions(),
        void=tuple(sorted(dataset.void)),
        files_sha256=_files(images),
    )
    net, _ = split(model)
    found = newest_intact(folder, lambda line: report(f"warning: {printable(line)}"))
    if found is not None:
        path, before = found
        _check_same_run(path, before, state, len(images))
        if start is not None:
            _check_same_weights(folder, before, start)
        if before.files_sha256 not in ("", state.files_sha256):
            report(
                f"warning: {folder}: the images or label maps have other sizes than those of its run; if {dataset.root}"
                " is another data set, stop, and start in another folder"
            )
        state = replace(state, step=before.step, start=before.start, start_sha256=before.start_sha256)
    if group.sums(state.step) != [group.count * state.step]:
        raise InputError(
            f"{folder}: process {group.rank} expected the same checkpoint in all processes, got step {state.step}"
            " here; use a"
            " folder that all machines of the run share"
        )
    if found is not None:
        load_weights(net, found[0] / MODEL)
        if isinstance(model, EndToEnd) and found[1].crf is not None:
            model.set_crf(found[1].crf)
            model.crf.load_state_dict(read_tensors(found[0] / CRF))
        load_optimizer(found[0], optimizer, group.device)
    elif start is not None:
        filled = init_from(net, start, classes=dataset.classes, seed=recipe.seed)
        state = replace(state, start=f"{start.name}, {filled.format}", start_sha256=model_sha256(start))
        if isinstance(model, EndToEnd) and (crf := known_state(start).get("crf")):
            model.set_crf(CrfParameters(**crf))
        report(f"from {printable(start)}\n{filled.report()}\n")
    else:
        raise InputError(
            "start: expected initial weights, got none; pass a file of VGG-16 or DeepLab, or the bundled model"
        )
    report(f"{recipe.to_toml()}\n{len(images)} images of {printable(images.name)}, from step {state.step}")
    if state.step == recipe.iterations:
        report(f"the training is complete: all {recipe.iterations} steps were computed before")
    return state


def _versions() -> dict[str, str]:
    revision = git_revision()
    return versions(["atrous", "torch"]) | ({"git": revision} if revision else {})


def _check_same_run(path: Path, before: TrainingState, now: TrainingState, images: int) -> None:
    folder = path.parent
    remedy = f"start in another folder, from this run's weights {checkpoint_folder(folder, before.step)} or others"
    for key, value in now.recipe.as_dict().items():
        if (earlier := before.recipe.as_dict()[key]) != value:
            raise InputError(f"{folder}: expected {key}={earlier!r} as in its run, got {value!r}; {remedy}")
    if before.training_list_sha256 != now.training_list_sha256:
        trained = (path / TRAINING_LIST).read_bytes().count(b"\n")
        raise InputError(
            f"{folder}: expected the {trained} images of its run (list {before.training_list}), got {images} (list"
            f" {now.training_list}); the list or the number of held-out images differs: pass hold_out=N as in its run,"
            f" or {remedy}"
        )
    if before.void != now.void:
        raise InputError(f"{folder}: expected void={list(before.void)} as in its run, got {list(now.void)}; {remedy}")
    if before.classes != now.classes:
        names = ", ".join(before.classes[:4])
        raise InputError(f"{folder}: expected the classes of its run ({names}, ...); {remedy}")


def _check_same_weights(folder: Path, before: TrainingState, start: Path) -> None:
    """Compare initial weights by their hash, or by name if a hash is missing."""
    if before.start_sha256 and start.exists():
        same = model_sha256(start) == before.start_sha256
    else:
        same = before.start.startswith(f"{start.name}, ")
    if not same:
        raise InputError(
            f"{folder}: expected the initial weights of its run ({before.start}), got {start}; resume without initial"
            " weights, or start in another folder"
        )


def _files(images: ImageList) -> str:
    """Return a hash of the samples' names and of the sizes of their files, which detects another data set."""
    digest = hashlib.sha256()
    for sample in sorted(images.samples, key=lambda sample: sample.name):
        sizes = (path.stat().st_size if path and path.is_file() else None for path in (sample.image, sample.label))
        digest.update(f"{sample.name}\0{','.join(map(str, sizes))}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()

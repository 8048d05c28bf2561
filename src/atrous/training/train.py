"""The training loop, top to bottom."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from .._printable import printable
from .._provenance import versions
from .._signals import stop_requests
from ..data.dataset import Dataset
from ..data.samples import ImageList
from ..data.soft_targets import SoftTargets
from ..errors import InputError
from ..network.deeplab import DeepLab
from ..network.pretrained_init import start as fill
from ..network.torch_backend import MODEL
from ..network.weights import load_weights
from . import checkpoint
from .checkpoint import TrainingState
from .config import Recipe
from .dataloader import CropsByPosition, batches, class_weights, pixel_counts
from .distributed import Processes, processes
from .logger import Journal
from .losses import loss_divisor, segmentation_loss
from .optim import learning_rate, make_optimizer, set_rate
from .precision import bf16_reason
from .progress import Clock
from .run_lock import claimed
from .validation import validate


@dataclass(frozen=True)
class Run:
    """Where and how a run is carried out: what leaves its result as it is, but for the last bits.

    Attributes
    ----------
    device : str or None
        "cpu" or "cuda"; None for GPUs where there is one for each process, else the CPU.
    threads : int or None
        Of a CPU run; PyTorch's choice if None. Another number changes last bits.
    workers : int
        Processes that cut crops ahead, for each process that trains.
    save_every : int
        Steps between checkpoints.
    validation : ImageList or None
        Scored with the network alone, without the CRF.
    evaluate_every : int
        Steps between scorings; the end is always scored.
    """

    device: str | None = None
    threads: int | None = None
    workers: int = 1
    save_every: int = 100
    validation: ImageList | None = None
    evaluate_every: int = 1000


def train(
    out: Path,
    samples: ImageList,
    recipe: Recipe,
    dataset: Dataset,
    *,
    start: Path | None = None,
    soft_targets: Path | None = None,
    run: Run = Run(),
    console: Console | None = None,
) -> Path:
    """Train, from the newest checkpoint in `out` if there is one.

    Started by torchrun, each process computes its share of every step's crops; the result is that of one
    process, but for what the dropout drops and last bits.

    Parameters
    ----------
    out : path
        The run's folder: checkpoints and the journal.
    samples : ImageList
    recipe : Recipe
    dataset : Dataset
        Where the samples are from: its classes and colors.
    start : path, optional
        First weights, any file that `atrous.network.pretrained_init.start` knows.
    soft_targets : path, optional
        Folder of another network's scores, see `SoftTargets`; needed for a recipe with a `soft_weight` above 0.
    run : Run
    console : rich.console.Console, optional

    Returns
    -------
    Path
        The last checkpoint. It is not of the recipe's last step if the process was asked to stop (Ctrl-C).

    Raises
    ------
    InputError
        If the run in `out` was begun with another recipe or another list, another run writes there, there is
        nothing to start from, the loss is not finite, or something cannot be read or written.
    """
    if (soft_targets is None) != (recipe.soft_weight == 0):
        given = "no soft targets" if soft_targets is None else str(soft_targets)
        raise InputError(f"soft_weight={recipe.soft_weight} with {given}: expected both a weight above 0 and a folder")
    soft = None if soft_targets is None else SoftTargets(soft_targets, samples, len(dataset.classes))
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    with processes(run.device) as group:
        if recipe.batch % (group.count * recipe.accumulate):
            raise InputError(
                f"batch={recipe.batch}: expected a multiple of {group.count} processes x accumulate={recipe.accumulate}"
            )
        # One process speaks and writes for all.
        console = (console or Console()) if group.first else Console(quiet=True)
        try:
            return _train(out, samples, recipe, dataset, start, soft, run, group, console)
        except RuntimeError as error:
            # "... is killed by signal" or "... exited unexpectedly", as it happens to be seen.
            if not str(error).startswith("DataLoader worker (pid"):
                raise
            raise InputError(
                f"a process that cuts crops is gone ({str(error).splitlines()[0]:.100}); the same command goes on from"
                " the newest checkpoint"
            ) from None


def _train(
    out: Path,
    samples: ImageList,
    recipe: Recipe,
    dataset: Dataset,
    start: Path | None,
    soft: SoftTargets | None,
    run: Run,
    group: Processes,
    console: Console,
) -> Path:
    def say(text: str) -> None:
        lines = "\n".join(map(printable, text.split("\n")))
        console.print(lines, highlight=False, markup=False, soft_wrap=True)

    net = DeepLab(recipe.variant, len(dataset.classes), recipe.dropout, recipe.multiscale)
    net.freeze_through(recipe.frozen)
    optimizer = make_optimizer(net, recipe)
    newest, state = _begun(out, samples, recipe, dataset, say)
    if group.sums(state.step) != [group.count * state.step]:
        raise InputError(
            f"{out}: process {group.rank} goes on from step {state.step}, others from another; give --out a folder that"
            " all machines of the run share"
        )
    if newest is not None:
        load_weights(net, newest / MODEL)
        checkpoint.load_optimizer(newest, optimizer, group.device)
    elif start is not None:
        filled = fill(net, start, classes=dataset.classes, seed=recipe.seed)
        state = replace(state, start=f"{start.name}, {filled.format}")
        say(f"from {printable(start)}\n{filled.report()}\n")
    else:
        raise InputError("nothing to start from: give weights of VGG-16 or of a network of this package (--weights)")
    net.to(group.device)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    net.to(memory_format=layout)  # type: ignore[call-overload]
    model = group.wrapped(net.train())

    pixels = pixel_counts(samples) if recipe.balanced or recipe.class_weights == "median-frequency" else None
    weights = class_weights(recipe, len(dataset.classes), pixels)
    on_device = None if weights is None else weights.to(group.device)
    crops = CropsByPosition(samples, recipe, pixels, soft)
    reason = bf16_reason(group.device) if recipe.precision == "auto" else None
    if reason is not None:
        say(f"precision: bf16 ({reason})")
    bf16 = recipe.precision == "bf16" or reason is not None
    on_gpu = group.device.type == "cuda"
    source = batches(crops, state.step, rank=group.rank, processes=group.count, workers=run.workers, pinned=on_gpu)
    say(
        f"{recipe.to_toml()}\n{len(samples)} images of {printable(samples.name)}, from step {state.step}, on"
        f" {group.device}"
    )

    def save(step: int) -> Path:
        if not group.first:
            return checkpoint.place(out, step)
        names = tuple(sample.name for sample in samples.samples)
        return checkpoint.save(out, net, optimizer, replace(state, step=step), names)

    clock = Clock(iterations=recipe.iterations, crops=recipe.batch, device=str(group.device))
    journal = Journal(out, iterations=recipe.iterations, first_step=state.step, console=console)
    with (
        claimed(out) if group.first else nullcontext(),
        journal if group.first else nullcontext(),
        stop_requests() as stop_requested,
    ):
        for step, (images, labels) in zip(count(state.step), clock.loading(source), strict=False):
            divisor, stop = group.sums(loss_divisor(labels, weights), stop_requested())
            if stop:
                say(f"stopped after {step} of {recipe.iterations} steps; the same command goes on from there")
                return save(step)
            # A step's dropout depends on the seed, the step and the process alone, so a resumed run repeats it.
            torch.manual_seed(_dropout_seed(recipe.seed, step, group.rank))
            rate = learning_rate(step, recipe)
            set_rate(optimizer, rate)
            loss = torch.zeros((), device=group.device)
            parts = list(zip(images.chunk(recipe.accumulate), labels.chunk(recipe.accumulate), strict=True))
            for n, (x, y) in enumerate(parts, start=1):
                x = x.to(group.device, memory_format=layout, non_blocking=True)
                y = y.to(group.device, non_blocking=True)
                with nullcontext() if n == len(parts) else group.silent(model):
                    with torch.autocast(group.device.type, torch.bfloat16, enabled=bf16):
                        scores = model(x)
                    part = segmentation_loss(scores, y, on_device) / max(divisor, 1e-6)
                    # The processes' gradients are averaged, but their losses are to be summed.
                    (part * group.count).backward()  # type: ignore[no-untyped-call]
                    loss += part.detach()
            if recipe.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

            done = step + 1
            (total,) = group.sums(loss.item())
            if not total < float("inf"):
                raise InputError(
                    f"loss is {total} at step {done}: lower the learning rate (--learning-rate) and begin anew in"
                    " another --out"
                )
            if group.first:
                journal.step(clock.tick(done, total, rate))
            with clock.paused():
                last = done == recipe.iterations
                if done % run.save_every == 0 or last:
                    save(done)
                if run.validation is not None and (done % run.evaluate_every == 0 or last):
                    scored = validate(net, dataset, run.validation, group)
                    if group.first:
                        journal.evaluation(done, scored.mean_iou(), scored.pixel_accuracy())
    return checkpoint.place(out, recipe.iterations)


def _begun(
    out: Path, samples: ImageList, recipe: Recipe, dataset: Dataset, warn: Callable[[str], None]
) -> tuple[Path | None, TrainingState]:
    """Return the checkpoint to go on from and its state, or None and the state of a run that begins.

    Raises
    ------
    InputError
        If the run was begun with another recipe, other images or other classes.
    """
    palette = tuple((int(r), int(g), int(b)) for r, g, b in dataset.palette)
    fresh = TrainingState(0, recipe, dataset.classes, palette, samples.name, samples.sha256, "", versions())
    found = checkpoint.newest_intact(out, lambda line: warn(f"warning: {printable(line)}"))
    if found is None:
        return None, fresh
    newest, state = found
    anew = "use another folder to begin anew"
    before, now = state.recipe.as_dict(), recipe.as_dict()
    for key in now:
        if before[key] != now[key]:
            raise InputError(f"{out}: was begun with {key}={before[key]!r}, not {now[key]!r}; {anew}")
    if state.training_list_sha256 != samples.sha256:
        raise InputError(f"{out}: was begun on other images than list {samples.name} has; {anew}")
    if state.classes != dataset.classes:
        raise InputError(f"{out}: was begun with other classes ({', '.join(state.classes[:4])}, ...); {anew}")
    return newest, replace(fresh, step=state.step, start=state.start)


def _dropout_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0])

"""Training loop."""

from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from .._signals import stop_requests
from ..data.dataset import Dataset
from ..data.samples import ImageList
from ..data.soft_targets import SoftTargets
from ..errors import InputError, RunError
from . import checkpoint
from .checkpoint import run_lock
from .config import DEFAULT_OPTIONS, Recipe, RunOptions
from .dataloader import CropsByPosition, batches, class_weights, pixel_counts, worker_failures
from .distributed import processes
from .end_to_end import build
from .logger import Logger
from .losses import Criterion
from .optim import backward, computes_in_bf16, learning_rate, make_optimizer, memory_format, set_lr
from .resume import start_or_resume
from .validation import validate


def train(
    out: Path,
    images: ImageList,
    recipe: Recipe,
    dataset: Dataset,
    *,
    start: Path | None = None,
    soft_targets: Path | None = None,
    options: RunOptions = DEFAULT_OPTIONS,
    console: Console | None = None,
) -> Path:
    """Train a network, or resume its training from the newest checkpoint in `out`.

    Under torchrun each process computes its part of every step's crops. The result is that of one process, except for
    dropout and rounding.

    Parameters
    ----------
    out : path
        The run's folder, for checkpoints and logs.
    images : ImageList
    recipe : Recipe
    dataset : Dataset
        Data set of the images, with its classes and colors.
    start : path, optional
        Initial weights: any file that `atrous.network.start` reads.
    soft_targets : path, optional
        Folder of another network's scores, see `SoftTargets`; required for a recipe with a `soft_weight` above 0.
    options : RunOptions
    console : rich.console.Console, optional

    Returns
    -------
    Path
        The last checkpoint. Its step is not the last one if a stop was requested (Ctrl-C).

    Raises
    ------
    InputError
        If the run in `out` has another recipe, list, classes or initial weights, another process trains there, there
        are no initial weights, or a file cannot be read or written.
    RunError
        If the loss diverges, or a data-loading or training process dies.
    """
    if (soft_targets is None) != (recipe.soft_weight == 0):
        given = "no soft targets" if soft_targets is None else str(soft_targets)
        raise InputError(
            f"soft_weight={recipe.soft_weight}: expected a weight above 0 and a folder of soft targets, got {given}"
        )
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    with processes(options.device) as group, worker_failures():
        console = (console or Console()) if group.first else Console(quiet=True)  # only the first process reports
        model = build(recipe, len(dataset.classes))
        optimizer = make_optimizer(model, recipe)
        state = start_or_resume(out, model, optimizer, images, recipe, dataset, start, group, console)
        model.to(group.device, memory_format=memory_format(recipe))  # type: ignore[call-overload]
        wrapped = group.wrap(model.train())

        pixels = pixel_counts(images) if recipe.balanced or recipe.class_weights == "median-frequency" else None
        criterion = Criterion(class_weights(recipe, len(dataset.classes), pixels), group.device)
        soft = SoftTargets(soft_targets, images, len(dataset.classes)) if soft_targets is not None else None
        crops = CropsByPosition(images, recipe, pixels, soft)
        loader = batches(
            crops,
            state.step,
            group.rank,
            group.count,
            options.workers,
            pinned=group.device.type == "cuda",
            report=console.print,
        )
        bf16 = computes_in_bf16(recipe.precision, group.device, console)
        names = tuple(sample.name for sample in images.samples)

        def save(step: int) -> None:
            if group.first:
                checkpoint.save(out, model, optimizer, replace(state, step=step), names)

        device = str(group.device)
        logger = Logger(out, recipe.iterations, state.step, crops=recipe.batch, console=console, device=device)
        writes = (run_lock(out), logger) if group.first else (nullcontext(), nullcontext())
        with writes[0], writes[1], stop_requests() as stop_requested:
            for step, (x, targets) in zip(count(state.step + 1), logger.loading(loader), strict=False):
                cells, stop = group.sums(criterion.cells(targets), stop_requested())
                if stop:
                    console.print(
                        f"stopped after {step - 1} of {recipe.iterations} steps; run the same command to resume"
                    )
                    save(step - 1)
                    return checkpoint.checkpoint_folder(out, step - 1)
                # Dropout depends only on seed, step and process, so a resumed run repeats it.
                torch.manual_seed(_dropout_seed(recipe.seed, step - 1, group.rank))
                lr = learning_rate(step - 1, recipe)
                set_lr(optimizer, lr)
                loss = backward(wrapped, criterion, x, targets, cells, recipe, group, bf16=bf16)
                if recipe.clip_norm is not None:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                (total,) = group.sums(loss)
                if not total < float("inf"):
                    raise RunError(
                        f"expected a finite loss, got {total} at step {step}; lower the learning rate and start in"
                        " another folder"
                    )
                if group.first:
                    logger.step(step, total, lr)
                last = step == recipe.iterations
                with logger.paused():
                    if last or step % options.save_every == 0:
                        save(step)
                    if options.validation is not None and (last or step % options.evaluate_every == 0):
                        scored = validate(model, dataset, options.validation, group)
                        if group.first:
                            logger.evaluation(step, scored.mean_iou(), scored.pixel_accuracy())
        return checkpoint.checkpoint_folder(out, recipe.iterations)


def _dropout_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0])

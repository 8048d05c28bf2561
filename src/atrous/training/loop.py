"""The training loop, top to bottom."""

import csv
import time
from collections import deque
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from ..data.samples import ImageList
from ..errors import InputError
from ..network.deeplab import DeepLab, initialise_head
from ..network.engine import MODEL
from ..network.weights import load_vgg_convolutions, load_weights
from ..palette.colours import VOID
from . import checkpoint
from .batches import batches
from .checkpoint import TrainingState
from .optimiser import make_optimizer, poly_rate, set_rate
from .recipe import Recipe


@dataclass(frozen=True)
class Progress:
    """What one step reports."""

    step: int
    loss: float
    rate: float
    crops_per_second: float
    seconds_left: float


def segmentation_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over all cells and images, divided by the number of non-void cells (section 4)."""
    losses = F.cross_entropy(scores, labels, ignore_index=VOID, reduction="sum")
    return losses / (labels != VOID).sum().clamp(min=1)


def train(
    out: Path,
    samples: ImageList,
    recipe: Recipe,
    classes: tuple[str, ...],
    *,
    vgg: Path | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    threads: int | None = None,
    workers: int = 1,
    save_every: int = 100,
    console: Console | None = None,
) -> Path:
    """Train, from the newest checkpoint in `out` if there is one.

    Parameters
    ----------
    out : path
        The run's folder: checkpoints and `log.csv`.
    samples : ImageList
    recipe : Recipe
    classes : tuple of str
        Names by id, background first.
    vgg : path, optional
        ImageNet convolutions in safetensors; fc6 to fc8 are then drawn at random.
    weights : path, optional
        A checkpoint folder whose model this run starts from instead (its optimiser state is not used).
    device, threads, workers, save_every
        Where to compute, threads of a CPU run, loader processes, steps between checkpoints.

    Returns
    -------
    Path
        The last checkpoint.

    Raises
    ------
    InputError
        If the run in `out` was begun with another recipe or another list, or there is nothing to
        start from.
    """
    console = console or Console()
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    net = DeepLab(recipe.variant, classes=len(classes), dropout=recipe.dropout)
    net.freeze_through(recipe.frozen)
    optimizer = make_optimizer(net, recipe)
    earlier = checkpoint.checkpoints(out)
    if earlier:
        state = TrainingState.read(earlier[-1])
        _check_same_run(out, state, recipe, samples)
        load_weights(net, earlier[-1] / MODEL)
        checkpoint.load_optimizer(earlier[-1], optimizer)
        first = state.step
    else:
        first = 0
        if weights is not None:
            load_weights(net, weights / MODEL)
        elif vgg is not None:
            load_vgg_convolutions(net, vgg)
            initialise_head(net)
        else:
            raise InputError("nothing to start from: give ImageNet's convolutions (--vgg) or --weights")
    net.to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for optimizer_state in optimizer.state.values():
        for key, value in optimizer_state.items():
            if key != "step":
                optimizer_state[key] = value.to(device)
    net.train()
    console.print(f"{recipe}", highlight=False, soft_wrap=True)
    console.print(f"{len(samples)} images of {samples.name}, from step {first}", highlight=False)

    newest = earlier[-1] if earlier else out
    out.mkdir(parents=True, exist_ok=True)
    clock = _Clock(recipe)
    with _CsvLog(out / "log.csv", first) as log:
        source = batches(samples, recipe, first, workers)
        for step, (images, labels) in enumerate(source, start=first):
            # A step's dropout depends on the seed and the step alone, so a resumed run repeats it.
            torch.manual_seed(recipe.seed * 1_000_003 + step)
            rate = poly_rate(step, recipe)
            set_rate(optimizer, rate)
            images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
            loss = segmentation_loss(net(images), labels.to(device, non_blocking=True))
            loss.backward()  # type: ignore[no-untyped-call]
            if recipe.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

            report = clock.tick(step + 1, loss.item(), rate)
            if not report.loss < float("inf"):
                raise InputError(f"loss is {report.loss} at step {step + 1}: lower the learning rate")
            log.row(report)
            if (step + 1) % 10 == 0:
                console.print(progress_line(report, recipe), highlight=False)
            if (step + 1) % save_every == 0 or step + 1 == recipe.iterations:
                state = TrainingState(step + 1, recipe, classes, samples.name, samples.sha256, _versions())
                newest = checkpoint.save(out, net, optimizer, state)
    return newest


def _check_same_run(out: Path, state: TrainingState, recipe: Recipe, samples: ImageList) -> None:
    before, now = state.recipe.as_dict(), recipe.as_dict()
    changed = [k for k in now if before[k] != now[k]]
    if changed:
        k = changed[0]
        raise InputError(f"{out}: was begun with {k}={before[k]!r}, not {now[k]!r}; use another folder to begin anew")
    if state.training_list_sha256 != samples.sha256:
        raise InputError(
            f"{out}: was begun on other images than list {samples.name} has; use another folder to begin anew"
        )


def _versions() -> dict[str, str]:
    try:
        own = version("atrous")
    except PackageNotFoundError:  # run from a source tree
        own = "unknown"
    return {"atrous": own, "torch": torch.__version__}


class _Clock:
    """Turns steps into speed and time left, over the last hundred steps."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.ends: deque[tuple[int, float]] = deque(maxlen=101)

    def tick(self, step: int, loss: float, rate: float) -> Progress:
        self.ends.append((step, time.perf_counter()))
        (s0, t0), (s1, t1) = self.ends[0], self.ends[-1]
        per_step = (t1 - t0) / (s1 - s0) if s1 > s0 else float("nan")
        left = per_step * (self.recipe.iterations - step)
        return Progress(step, loss, rate, self.recipe.batch / per_step, left)


def progress_line(report: Progress, recipe: Recipe) -> str:
    """One line: step, loss, rate, crops a second, time left."""
    minutes = report.seconds_left / 60
    return (
        f"step {report.step:>6}/{recipe.iterations}  loss {report.loss:.3f}  rate {report.rate:.2e}  "
        f"{report.crops_per_second:.2f} crops/s  {minutes // 60:.0f}h{minutes % 60:02.0f} left"
    )


class _CsvLog:
    """Appends one line a step; lines after the checkpoint that a run resumes from are dropped."""

    HEADER = ("step", "loss", "rate", "crops_per_second")

    def __init__(self, path: Path, first: int) -> None:
        kept: list[list[str]] = []
        if path.is_file() and first > 0:
            with path.open(newline="") as file:
                kept = [row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) <= first]
        self.file = path.open("w", newline="")
        self.writer = csv.writer(self.file)
        self.writer.writerow(self.HEADER)
        self.writer.writerows(kept)

    def row(self, report: Progress) -> None:
        self.writer.writerow(
            (report.step, f"{report.loss:.5f}", f"{report.rate:.4e}", f"{report.crops_per_second:.3f}")
        )
        self.file.flush()

    def __enter__(self) -> "_CsvLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

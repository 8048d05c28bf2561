"""Training crops in their order, loaded ahead by worker processes or threads."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from .._parallel import map_ordered
from ..data.sampler import TrainingOrder, rarest_class_weights
from ..data.samples import ImageList, Sample, read_label_map, read_pair
from ..data.soft_targets import SoftTargets
from ..data.transforms import cut, draw_window, shrink_labels
from ..errors import InputError, RunError
from ..labelmap.voc_colormap import VOID
from .config import Recipe
from .losses import mixed_targets

SampleBatch = tuple[Tensor, Tensor]

# Batches that each worker process makes ahead.
PREFETCH = 4

# Where Linux keeps the memory that worker processes hand their batches over in, and their locks.
SHARED_MEMORY = Path("/dev/shm")


class CropsByPosition(Dataset[SampleBatch]):
    """The crop at each position of a training run: a function of recipe and position alone.

    Parameters
    ----------
    samples : ImageList
    recipe : Recipe
    pixels : (N, 256) int, optional
        Pixels of each id in each image, as of `pixel_counts`; needed for a balanced recipe.
    soft : SoftTargets, optional
        Mixed with the label maps by the recipe's `soft_weight`; images may then lack a label map.
    """

    def __init__(
        self,
        samples: ImageList,
        recipe: Recipe,
        pixels: NDArray[np.int64] | None = None,
        soft: SoftTargets | None = None,
    ) -> None:
        self.samples = samples.samples
        self.recipe = recipe
        self.soft = soft
        weights = None
        if recipe.balanced:
            pixels = pixel_counts(samples) if pixels is None else pixels
            present = [frozenset(np.flatnonzero(row[1:VOID]).tolist()) for row in pixels]
            weights = rarest_class_weights(present)
        self.order = TrainingOrder(len(self.samples), recipe.seed, weights)

    @property
    def step_bytes(self) -> int:
        """The bytes of a step's crops and their targets."""
        cells = (self.recipe.crop + 7) // 8
        targets = cells**2 * (8 if self.soft is None else 4 * self.soft.classes)
        return self.recipe.batch * (3 * 4 * self.recipe.crop**2 + targets)

    def __getitem__(self, position: int) -> SampleBatch:
        sample, recipe = self.samples[self.order[position]], self.recipe
        try:
            image, labels = read_pair(sample, unlabeled=self.soft is not None)
        except InputError as error:  # PyTorch can hand over errors of plain classes only
            raise InputError(str(error)) from None
        rng = np.random.default_rng((recipe.seed, 1, position))
        window = draw_window(labels.shape, recipe.crop, rng, scales=recipe.scales, mirror=recipe.mirror)
        blob, crop = cut(image, labels, window)
        targets = torch.from_numpy(shrink_labels(crop).astype(np.int64))
        if self.soft is not None:
            probabilities = self.soft.at(sample, window.image, *window.cells())
            targets = mixed_targets(targets, torch.from_numpy(probabilities), recipe.soft_weight)
        return torch.from_numpy(blob), targets


def pixel_counts(samples: ImageList) -> NDArray[np.int64]:
    """Count the pixels of each id in each image, (N, 256); all 0 for one without a label map.

    Raises
    ------
    InputError
        If a label map cannot be read or has an id that is no class, or if all are void.
    """

    def count(sample: Sample) -> NDArray[np.int64]:
        if sample.label is None:
            return np.zeros(256, np.int64)
        return np.bincount(read_label_map(sample).ravel(), minlength=256)

    counts = np.stack(list(map_ordered(count, samples.samples)))
    if any(sample.label for sample in samples.samples) and not counts[:, :VOID].any():
        raise InputError(f"list {samples.name}: its label maps are all void ({VOID}); expected pixels of a class")
    return counts


def class_weights(recipe: Recipe, classes: int, pixels: NDArray[np.int64] | None) -> Tensor | None:
    """Return what a cell of each class counts in the loss, (classes,) float32; None where all count the same.

    Parameters
    ----------
    recipe : Recipe
    classes : int
    pixels : (N, 256) int
        As of `pixel_counts`; needed for "median-frequency" (Eigen and Fergus 2015).
    """
    if recipe.class_weights == "equal":
        return None
    if isinstance(recipe.class_weights, tuple):
        if len(recipe.class_weights) != classes:
            raise InputError(f"class_weights: expected {classes} numbers, one a class; got {len(recipe.class_weights)}")
        return torch.tensor(recipe.class_weights, dtype=torch.float32)
    assert pixels is not None
    counts = pixels[:, :classes]
    there = (counts > 0) * pixels[:, :VOID].sum(axis=1, keepdims=True)
    # A class's share of the pixels of those images that it is in.
    share = counts.sum(axis=0) / there.sum(axis=0).clip(min=1)
    median = np.median(share[share > 0]) if share.any() else 1.0
    weights = np.divide(median, share, out=np.zeros(classes), where=share > 0)
    return torch.from_numpy(weights.astype(np.float32))


def batches(
    crops: CropsByPosition,
    first_step: int,
    rank: int = 0,
    processes: int = 1,
    workers: int = 1,
    *,
    threads: bool | None = None,
    report: Callable[[str], object] = lambda line: None,
    pinned: bool = False,
) -> Iterator[SampleBatch]:
    """Yield one process's share of each step's crops, from `first_step` to the recipe's last.

    Parameters
    ----------
    crops : CropsByPosition
    first_step : int
    rank, processes : int
        Which share: the crops of a step do not depend on how many processes divide them.
    workers : int
        Processes that read and cut ahead; 0 does it in this one.
    threads : bool, optional
        Use threads of this process instead, which need no shared memory; the crops are the same. Default: where the
        system has too little shared memory.
    report : callable
        Called with a line if threads are used for lack of shared memory.
    pinned : bool
        In memory that a GPU reads directly.

    Yields
    ------
    images, targets
        (share, 3, crop, crop) float32 network input and (share, cells, cells) int64 ids, 255 void; with soft targets
        (share, C, cells, cells) float32, see `mixed_targets`.
    """
    recipe = crops.recipe
    share = recipe.batch // processes
    positions = [
        step * recipe.batch + rank * share + i for step in range(first_step, recipe.iterations) for i in range(share)
    ]
    if threads is None and workers > 0 and (lack := shared_memory_lack(crops.step_bytes, workers)) is not None:
        report(f"{workers} threads load the data, not processes ({lack})")
        threads = True
    if threads and workers > 0:
        yield from _from_threads(crops, positions, share, workers, pinned=pinned)
        return
    loader = DataLoader(
        crops,
        batch_size=share,
        sampler=positions,
        num_workers=workers,
        prefetch_factor=PREFETCH if workers else None,
        worker_init_fn=_leave_stopping_to_the_parent,
        pin_memory=pinned,
    )
    try:
        yield from loader
    except InputError as error:
        # A worker's error comes with the worker's traceback before it.
        *traceback, line = str(error).splitlines()
        raise InputError(line.split("InputError: ", 1)[-1] if traceback else line) from None


@contextmanager
def worker_failures() -> Iterator[None]:
    """Turn the death of a data-loading worker, wherever PyTorch notices it, into a RunError."""
    try:
        yield
    except RuntimeError as error:
        # "... is killed by signal" or "... exited unexpectedly", depending on when it is noticed.
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        reason = str(error).splitlines()[0]
        full = f" after {SHARED_MEMORY} has room, or with workers=0" if "Bus error" in reason else ""
        raise RunError(
            f"a data-loading worker died ({reason:.100}); run the same command again to resume from the newest"
            f" checkpoint{full}"
        ) from None


def shared_memory_lack(batch_bytes: int, workers: int, folder: Path = SHARED_MEMORY) -> str | None:
    """Return why worker processes cannot hand their batches over, None if they can.

    A process that writes more than there is room for is killed (SIGBUS), so this is asked before one starts.

    Parameters
    ----------
    batch_bytes : int
        Of all processes that train on this machine, for a step.
    workers : int
        Worker processes for each of them.
    folder : Path
        Where Linux keeps shared memory; other systems keep it elsewhere, and bound it by the memory alone.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        status = os.statvfs(folder)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} cannot be written to"
    needed = (PREFETCH * workers + 2) * batch_bytes  # one in use, one on its way
    free = status.f_bavail * status.f_frsize
    if status.f_blocks and free < needed:  # 0 blocks: a tmpfs without a bound
        return f"{folder} has {free / 2**20:.1f} MiB free of {needed / 2**20:.1f} needed"
    return None


def _from_threads(
    crops: CropsByPosition, positions: list[int], share: int, workers: int, *, pinned: bool
) -> Iterator[SampleBatch]:
    def batch(start: int) -> SampleBatch:
        images, targets = default_collate([crops[position] for position in positions[start : start + share]])
        return (images.pin_memory(), targets.pin_memory()) if pinned else (images, targets)

    # One more, since a single one would be the caller's own.
    yield from map_ordered(batch, range(0, len(positions), share), workers + 1)


def _leave_stopping_to_the_parent(_worker: int) -> None:
    # A terminal sends Ctrl-C to all of a run's process group, and torchrun does so with SIGTERM; the parent stops when
    # its step is done, for which it needs its crops. SIGTERM itself stays as it is: by it the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)

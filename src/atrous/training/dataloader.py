"""Data loader of training crops, with prefetching in worker processes or threads."""

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

# Number of batches that each worker process prefetches.
PREFETCH = 4

# Folder of Linux's shared memory, through which worker processes pass batches and locks.
SHARED_MEMORY = Path("/dev/shm")


class CropsByPosition(Dataset[SampleBatch]):
    """Dataset of training crops; the recipe and the position determine each crop.

    Parameters
    ----------
    samples : ImageList
    recipe : Recipe
    pixels : (N, 256) int, optional
        Pixel counts per id and image, from `pixel_counts`; required for a balanced recipe.
    soft : SoftTargets, optional
        Mixed with the label maps by the recipe's `soft_weight`. Images may then lack a label map.
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
        """Return the size in bytes of a step's crops and targets."""
        cells = (self.recipe.crop - 1) // self.recipe.target_stride + 1
        targets = cells**2 * (8 if self.soft is None else 4 * self.soft.classes)
        return self.recipe.batch * (3 * 4 * self.recipe.crop**2 + targets)

    def __getitem__(self, position: int) -> SampleBatch:
        sample, recipe = self.samples[self.order[position]], self.recipe
        try:
            image, labels = read_pair(sample, unlabeled=self.soft is not None)
        except InputError as error:  # PyTorch passes only errors with simple constructors between processes
            raise InputError(str(error)) from None
        rng = np.random.default_rng((recipe.seed, 1, position))
        window = draw_window(labels.shape, recipe.crop, rng, scales=recipe.scales, mirror=recipe.mirror)
        blob, crop = cut(image, labels, window)
        targets = torch.from_numpy(shrink_labels(crop, recipe.target_stride).astype(np.int64))
        if self.soft is not None:
            probabilities = self.soft.at(sample, window.image, *window.cells(recipe.target_stride))
            targets = mixed_targets(targets, torch.from_numpy(probabilities), recipe.soft_weight)
        return torch.from_numpy(blob), targets


def pixel_counts(samples: ImageList) -> NDArray[np.int64]:
    """Count the pixels of each id in each image, (N, 256); all 0 for an image without a label map.

    Raises
    ------
    InputError
        If a label map cannot be read or has an invalid id, or if all pixels are void.
    """

    def count(sample: Sample) -> NDArray[np.int64]:
        if sample.label is None:
            return np.zeros(256, np.int64)
        return np.bincount(read_label_map(sample).ravel(), minlength=256)

    counts = np.stack(list(map_ordered(count, samples.samples)))
    if any(sample.label for sample in samples.samples) and not counts[:, :VOID].any():
        raise InputError(f"list {samples.name}: expected labeled pixels, got only void ({VOID})")
    return counts


def class_weights(recipe: Recipe, classes: int, pixels: NDArray[np.int64] | None) -> Tensor | None:
    """Return the weight of each class in the loss, (classes,) float32; None for equal weights.

    Parameters
    ----------
    recipe : Recipe
    classes : int
    pixels : (N, 256) int
        Counts from `pixel_counts`; required for "median-frequency" (Eigen and Fergus 2015).
    """
    if recipe.class_weights == "equal":
        return None
    if isinstance(recipe.class_weights, tuple):
        if len(recipe.class_weights) != classes:
            raise InputError(
                f"class_weights: expected {classes} numbers, one per class, got {len(recipe.class_weights)}"
            )
        return torch.tensor(recipe.class_weights, dtype=torch.float32)
    assert pixels is not None
    counts = pixels[:, :classes]
    # A class' share of the pixels of the images that contain it.
    pixels_of_images_with_class = (counts > 0) * pixels[:, :VOID].sum(axis=1, keepdims=True)
    share = counts.sum(axis=0) / pixels_of_images_with_class.sum(axis=0).clip(min=1)
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
    """Yield one process' part of each step's crops, from `first_step` to the recipe's last step.

    Parameters
    ----------
    crops : CropsByPosition
    first_step : int
    rank, processes : int
        Part of the crops. The crops of a step do not depend on the number of processes.
    workers : int
        Worker processes that prefetch crops; 0 loads them in this process.
    threads : bool, optional
        Load in threads instead of worker processes; needs no shared memory, gives the same crops. Default: only if
        the system has too little shared memory.
    report : callable
        Called with a line if shared memory is too small and threads are used.
    pinned : bool
        Whether to use page-locked memory, which GPUs read directly.

    Yields
    ------
    images, targets
        (part, 3, crop, crop) float32 network input and (part, cells, cells) int64 ids, 255 void; with soft targets
        (part, C, cells, cells) float32, see `mixed_targets`.
    """
    recipe = crops.recipe
    share = recipe.batch // processes
    positions = [
        step * recipe.batch + rank * share + i for step in range(first_step, recipe.iterations) for i in range(share)
    ]
    if threads is None and workers > 0 and (lack := shared_memory_lack(crops.step_bytes, workers)) is not None:
        report(f"loading data in {workers} threads instead of processes ({lack})")
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
        worker_init_fn=_ignore_signals_in_worker,
        pin_memory=pinned,
    )
    try:
        yield from loader
    except InputError as error:
        # A worker's error message contains the worker's traceback before it.
        *traceback, line = str(error).splitlines()
        raise InputError(line.split("InputError: ", 1)[-1] if traceback else line) from None


@contextmanager
def worker_failures() -> Iterator[None]:
    """Convert the failure of a data-loading worker, wherever PyTorch detects it, to a RunError."""
    try:
        yield
    except RuntimeError as error:
        # "... is killed by signal" or "... exited unexpectedly", depending on when PyTorch detects it.
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        reason = str(error).splitlines()[0]
        remedy = f" after {SHARED_MEMORY} has room, or with workers=0" if "Bus error" in reason else ""
        raise RunError(
            f"a data-loading worker died ({reason:.100}); run the same command again to resume from the newest"
            f" checkpoint{remedy}"
        ) from None


def shared_memory_lack(batch_bytes: int, workers: int, folder: Path = SHARED_MEMORY) -> str | None:
    """Return the reason why worker processes cannot share batches, or None if they can.

    Linux kills a process that exceeds shared memory (SIGBUS), so this runs first.

    Parameters
    ----------
    batch_bytes : int
        Size of a step's batches of all training processes on this machine.
    workers : int
        Worker processes per training process.
    folder : Path
        Folder of shared memory. Checked on Linux only.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        status = os.statvfs(folder)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} cannot be written to"
    needed = (PREFETCH * workers + 2) * batch_bytes  # one in use, one in transit
    free = status.f_bavail * status.f_frsize
    if status.f_blocks and free < needed:  # 0 blocks: a tmpfs without a limit
        return f"{folder} has {free / 2**20:.1f} MiB free of {needed / 2**20:.1f} needed"
    return None


def _from_threads(
    crops: CropsByPosition, positions: list[int], share: int, workers: int, *, pinned: bool
) -> Iterator[SampleBatch]:
    def batch(start: int) -> SampleBatch:
        images, targets = default_collate([crops[position] for position in positions[start : start + share]])
        return (images.pin_memory(), targets.pin_memory()) if pinned else (images, targets)

    # map_ordered(..., 1) runs in the caller's thread, so request one more.
    yield from map_ordered(batch, range(0, len(positions), share), workers + 1)


def _ignore_signals_in_worker(_worker: int) -> None:
    # Ctrl-C reaches the whole process group, and so does torchrun's SIGTERM. Workers ignore Ctrl-C and leave the group,
    # because the parent still needs crops to finish its step. The parent stops workers with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)

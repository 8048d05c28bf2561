"""Crops in the order of training, made ahead by worker processes."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data.crops import random_crop, shrink_labels
from ..data.order import TrainingOrder, rarest_class_weights
from ..data.samples import ImageList, Sample, read_pair
from ..errors import InputError
from ..palette.colours import VOID
from .recipe import Recipe

SampleBatch = tuple[Tensor, Tensor]


class CropsByPosition(Dataset[SampleBatch]):
    """The crop at each position of a training run: a function of recipe and position alone."""

    def __init__(self, samples: ImageList, recipe: Recipe) -> None:
        self.samples = samples.samples
        self.recipe = recipe
        weights = rarest_class_weights([_present(s) for s in self.samples]) if recipe.balanced else None
        self.order = TrainingOrder(len(self.samples), recipe.seed, weights)

    def __getitem__(self, position: int) -> SampleBatch:
        image, labels = read_pair(self.samples[self.order[position]])
        rng = np.random.default_rng((self.recipe.seed, 1, position))
        blob, crop = random_crop(image, labels, self.recipe.crop, rng)
        return torch.from_numpy(blob), torch.from_numpy(shrink_labels(crop).astype(np.int64))


def _present(sample: Sample) -> frozenset[int]:
    _, labels = read_pair(sample)
    return frozenset(np.unique(labels).tolist()) - {0, VOID}


def batches(samples: ImageList, recipe: Recipe, first_step: int, workers: int) -> Iterator[SampleBatch]:
    """Yield the batches of steps `first_step` .. `recipe.iterations` - 1.

    Yields
    ------
    images, labels
        (batch, 3, crop, crop) float32 network input and (batch, cells, cells) int64 ids, 255 void.
    """
    positions = range(first_step * recipe.batch, recipe.iterations * recipe.batch)
    loader = DataLoader(
        CropsByPosition(samples, recipe),
        batch_size=recipe.batch,
        sampler=positions,
        num_workers=workers,
        persistent_workers=False,
    )
    try:
        yield from loader
    except InputError as error:
        # A worker's error comes with the worker's traceback before it.
        *traceback, line = str(error).splitlines()
        raise InputError(line.split("InputError: ", 1)[-1] if traceback else line) from None

"""Sampler of training images: a pure function of seed and position."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def rarest_class_weights(present: Sequence[frozenset[int]]) -> NDArray[np.float64]:
    """Weight each image by 1 / sqrt(count) of its rarest foreground class.

    Parameters
    ----------
    present : sequence of frozenset of int
        The foreground class ids in each image.

    Returns
    -------
    (N,) float64
        Probabilities, summing to 1. Images without foreground classes have the weight of the most common class.
    """
    counts: dict[int, int] = {}
    for ids in present:
        for c in ids:
            counts[c] = counts.get(c, 0) + 1
    commonest = max(counts.values(), default=1)
    rarity = [min((counts[c] for c in ids), default=commonest) for ids in present]
    weights = 1.0 / np.sqrt(np.asarray(rarity, np.float64))
    return weights / weights.sum()


class TrainingOrder:
    """Infinite sequence of image indices for training.

    Each epoch of N positions is a permutation of the N images, or, with `weights`, N systematic draws:
    image i occurs floor(N w_i) or ceil(N w_i) times, in random order.
    """

    def __init__(self, count: int, seed: int, weights: NDArray[np.float64] | None = None) -> None:
        self.count = count
        self.seed = seed
        self.weights = weights
        self._drawn = -1, np.empty(0, np.int64)  # an epoch and its images

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, self.count)
        drawn = self._drawn  # another thread may replace it
        if drawn[0] != epoch:
            drawn = self._drawn = epoch, self._draw(epoch)
        return int(drawn[1][place])

    def _draw(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng((self.seed, epoch))
        if self.weights is None:
            return rng.permutation(self.count)
        points = (np.arange(self.count) + rng.random()) / self.count
        # Shuffled before the systematic draw, too, so that neighbors in the list are drawn independently.
        shuffle = rng.permutation(self.count)
        drawn = np.searchsorted(np.cumsum(self.weights[shuffle]), points).clip(max=self.count - 1)
        return rng.permutation(shuffle[drawn])

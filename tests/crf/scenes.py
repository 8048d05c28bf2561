"""Images and what a network could say of them."""

import numpy as np

BILATERAL_LIMIT = 0.01  # share of labels by which the lattice may differ from the exact mean field


def random_probabilities(rng, labels, shape):
    scores = rng.normal(size=(labels, *shape)) * 2
    exponentials = np.exp(scores - scores.max(axis=0))
    return (exponentials / exponentials.sum(axis=0)).astype(np.float32)


def random_image(rng, height, width):
    """Smooth in large parts, with some noise, like a photograph."""
    coarse = rng.integers(0, 256, size=(height // 6 + 1, width // 6 + 1, 3))
    image = np.repeat(np.repeat(coarse, 6, axis=0), 6, axis=1)[:height, :width]
    return np.clip(image + rng.normal(size=image.shape) * 4, 0, 255).astype(np.uint8)


def blurred_regions(image, rng, labels=5):
    """What a network says of an image's regions: at an eighth of its size, and partly mistaken."""
    height, width = image.shape[:2]
    colors = image[::8, ::8].reshape(-1, 3).astype(float)
    centers = colors[rng.choice(len(colors), labels, replace=False)]
    for _ in range(10):
        nearest = ((colors[:, None] - centers) ** 2).sum(-1).argmin(1)
        centers = np.array(
            [colors[nearest == c].mean(0) if (nearest == c).any() else centers[c] for c in range(labels)]
        )
    coarse = (nearest == np.arange(labels)[:, None]).reshape(labels, height // 8, width // 8) * 6.0
    coarse += rng.normal(size=coarse.shape)
    at = [np.clip(np.arange(n) / 8, 0, n // 8 - 1) for n in (height, width)]
    rows = np.stack([[np.interp(at[0], np.arange(height // 8), column) for column in plane.T] for plane in coarse])
    scores = np.stack([[np.interp(at[1], np.arange(width // 8), line) for line in plane.T] for plane in rows])
    exponentials = np.exp(scores - scores.max(axis=0))
    return (exponentials / exponentials.sum(axis=0)).astype(np.float32)

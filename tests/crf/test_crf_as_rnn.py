"""CRF-as-RNN (Zheng et al. 2015, algorithm 1), with the parameters that docs/migrating-from-pydensecrf.md gives."""

import numpy as np
import pytest

from atrous.crf import Bilateral, DenseCRF, Spatial

HEIGHT, WIDTH, LABELS, STEPS = 7, 9, 3, 5
ALPHA, BETA, GAMMA = 6.0, 30.0, 2.0


def softmax(scores):
    weights = np.exp(scores - scores.max(axis=0))
    return weights / weights.sum(axis=0)


def normalized_kernel(features):
    distances = ((features[:, None] - features[None]) ** 2).sum(axis=-1)
    kernel = np.exp(-0.5 * distances)
    return kernel / kernel.sum(axis=1, keepdims=True)


def layer(image, logits, spatial_weights, bilateral_weights, compatibility):
    """The layer's Q, (labels, pixels): filtered, weighted, made compatible, added to the scores."""
    places = np.stack(np.indices((HEIGHT, WIDTH)), axis=-1).reshape(-1, 2).astype(float)
    spatial = normalized_kernel(places / GAMMA)
    bilateral = normalized_kernel(np.concatenate([places / ALPHA, image.reshape(-1, 3) / BETA], axis=1))
    q = softmax(logits)
    for _ in range(STEPS):
        message = spatial_weights @ q @ spatial.T + bilateral_weights @ q @ bilateral.T
        q = softmax(logits + compatibility @ message)
    return q


@pytest.fixture
def scene():
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return image, rng.normal(size=(LABELS, HEIGHT, WIDTH)).astype(np.float32)


def ours(scene, kernels):
    image, logits = scene
    crf = DenseCRF(image, kernels, iterations=STEPS, normalization="after", filtering="exact", prune=0)
    return crf(energies=-logits).reshape(LABELS, -1)


def test_before_training(scene):
    image, logits = scene
    expected = layer(image, logits.reshape(LABELS, -1), 3 * np.eye(LABELS), 5 * np.eye(LABELS), np.eye(LABELS))
    found = ours(scene, [Spatial(weight=3, sxy=GAMMA), Bilateral(weight=5, sxy=ALPHA, srgb=BETA)])
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(found - softmax(logits.reshape(LABELS, -1))).max() > 0.2  # the kernels did something


def test_matrices_that_were_trained(scene):
    rng = np.random.default_rng(4)
    image, logits = scene
    s, b = (np.eye(LABELS) * weight + rng.normal(size=(LABELS, LABELS)) for weight in (3, 5))
    c = np.eye(LABELS) + 0.3 * rng.normal(size=(LABELS, LABELS))
    kernels = [
        Spatial(weight=1, sxy=GAMMA, compatibility=-(c @ s)),
        Bilateral(weight=1, sxy=ALPHA, srgb=BETA, compatibility=-(c @ b)),
    ]
    expected = layer(image, logits.reshape(LABELS, -1), s, b, c)
    np.testing.assert_allclose(ours(scene, kernels), expected, atol=2e-5)

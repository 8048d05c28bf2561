"""Beside SimpleCRF, where it is installed: its parameters as docs/migrating-from-pydensecrf.md translates them."""

from pathlib import Path

import numpy as np
import pytest
from cases import probabilities
from PIL import Image

from atrous.crf import Bilateral, DenseCRF, Spatial
from atrous.pydensecrf import densecrf as dcrf

PHOTOS = sorted((Path(__file__).parents[2] / "examples").glob("*.jpg"))
HEIGHT, WIDTH = 90, 120


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
@pytest.mark.parametrize("param", [(10.0, 80, 13, 3.0, 3, 5.0), (4, 50.0, 20, 3.0, 3, 4), (2.0, 80, 13, 10.0, 3, 5.0)])
def test_pictures(path, param):
    simple = pytest.importorskip("denseCRF", reason="SimpleCRF is not installed")
    with Image.open(path) as opened:
        image = np.array(opened.convert("RGB").resize((WIDTH, HEIGHT)))
    likely = np.ascontiguousarray(probabilities(np.random.default_rng(7), 4, HEIGHT, WIDTH).transpose(1, 2, 0))
    expected = np.array(simple.densecrf(image, likely, param))

    w1, alpha, beta, w2, gamma, steps = param
    energies = -np.log(np.clip(likely, 0.01, 0.99))
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 4)
    crf.setUnaryEnergy(energies.transpose(2, 0, 1))
    crf.addPairwiseBilateral(sxy=alpha, srgb=beta, rgbim=image, compat=w1)
    crf.addPairwiseGaussian(sxy=gamma, compat=w2)
    np.testing.assert_array_equal(np.argmax(crf.inference(int(steps)), axis=0).reshape(HEIGHT, WIDTH), expected)

    kernels = [Bilateral(weight=w1, sxy=alpha, srgb=beta), Spatial(weight=w2, sxy=gamma)]
    found = DenseCRF(image, kernels, iterations=int(steps), normalization="symmetric").labels(energies=energies)
    assert (found != expected).mean() < 0.02


def in_volume(places, image, likely, param):
    """Return the labels that the drop-in finds with the places of R, C and Z, (3, N)."""
    points, labels = places.shape[1], likely.shape[-1]
    crf = dcrf.DenseCRF(points, labels)
    crf.setUnaryEnergy(-np.log(likely.reshape(points, labels).T))
    position, bilateral = (
        places.T / [param[f"{kernel}{axis}Std"] for axis in "RCZ"] for kernel in ("Pos", "Bilateral")
    )
    crf.addPairwiseEnergy(position.T, compat=param["PosW"])
    bands = image.reshape(points, -1) / np.array(param["BilateralModsStds"])
    crf.addPairwiseEnergy(np.concatenate([bilateral, bands], axis=1).T, compat=param["BilateralW"])
    return np.argmax(crf.inference(int(param["MaxIterations"])), axis=0).reshape(likely.shape[:-1])


@pytest.mark.parametrize("shape", [(16, 20, 16), (10, 20, 24)])
def test_volumes(shape):
    simple = pytest.importorskip("denseCRF3D", reason="SimpleCRF is not installed")
    rng = np.random.default_rng(1)
    z, y, x = np.indices(shape)
    ball = (x - 7) ** 2 + (y - 9) ** 2 + 2 * (z - 5) ** 2 < 40
    image = np.clip(60 + 80 * ball[..., None] + 25 * rng.standard_normal((*shape, 2)), 0, 255).astype(np.uint8)
    likely = np.clip(0.35 + 0.3 * ball + 0.2 * rng.standard_normal(shape), 0.02, 0.98)
    likely = np.ascontiguousarray(np.stack([1 - likely, likely], axis=-1), np.float32)
    param = {"MaxIterations": 5.0, "PosW": 2.0, "PosRStd": 2, "PosCStd": 3, "PosZStd": 5, "BilateralW": 3.0}
    param |= {"BilateralRStd": 4.0, "BilateralCStd": 6.0, "BilateralZStd": 9.0}
    param |= {"ModalityNum": 2, "BilateralModsStds": (5.0, 9.0)}
    expected = np.array(simple.densecrf3d(image, likely, param))

    voxels = np.arange(x.size)  # which it takes to lie in a volume whose first axis is the last
    taken = np.stack([voxels % shape[0], voxels // shape[0] % shape[1], voxels // (shape[0] * shape[1])])
    np.testing.assert_array_equal(in_volume(taken, image, likely, param), expected)
    places = np.stack([x, y, z]).reshape(3, -1)
    assert np.array_equal(taken, places) == (shape[0] == shape[2])

    if shape[0] == shape[2]:
        sigmas = {kernel: tuple(param[f"{kernel}{axis}Std"] for axis in "RCZ") for kernel in ("Pos", "Bilateral")}
        kernels = [
            Bilateral(weight=3, sxy=sigmas["Bilateral"], srgb=param["BilateralModsStds"]),
            Spatial(weight=2, sxy=sigmas["Pos"]),
        ]
        found = DenseCRF(image, kernels, iterations=5, normalization="symmetric").labels(likely)
        assert (found != expected).mean() < 0.02

"""Random CRFs that either module solves: pydensecrf writes golden files of them, atrous.pydensecrf must agree."""

from dataclasses import dataclass, replace
from importlib import import_module
from itertools import product

import numpy as np

FORMS = ("potts", "vector", "matrix")
KERNELS = ("CONST_KERNEL", "DIAG_KERNEL", "FULL_KERNEL")
NORMALIZATIONS = ("NO_NORMALIZATION", "NORMALIZE_BEFORE", "NORMALIZE_AFTER", "NORMALIZE_SYMMETRIC")
FEATURES = ("gaussian", "bilateral", "both", "volume", "points")


@dataclass(frozen=True)
class Case:
    seed: int
    labels: int
    height: int
    width: int
    features: str
    form: str
    kernel: str
    normalization: str
    iterations: int

    @property
    def name(self):
        return "-".join(
            map(str, (self.seed, self.features, self.form, self.kernel, self.normalization, f"{self.labels}labels"))
        )


def small_cases():
    """All kernel types with all normalizations and forms of compatibility, 2 to 40 labels, 30 to 120 points."""
    cases = []
    for seed, (normalization, form, kernel) in enumerate(product(NORMALIZATIONS, FORMS, KERNELS)):
        rng = np.random.default_rng(seed)
        height, width = 5 + int(7 * rng.random()), 5 + int(6 * rng.random())
        labels = (2, 40)[seed] if seed < 2 else 2 + int(22 * rng.random())
        features = FEATURES[seed % len(FEATURES)]
        iterations = (1, 5, 10)[seed // 3 % 3]
        cases.append(Case(seed, labels, height, width, features, form, kernel, normalization, iterations))
    return cases + tie_cases() + band_cases()


def tie_cases():
    """Points midway between the vertices of a lattice, where the last bit decides which of them are near."""
    return [
        Case(seed, 3, 24, 27, "ties", "potts", "DIAG_KERNEL", NORMALIZATIONS[seed % 4], 3) for seed in range(36, 48)
    ]


def band_cases():
    """Pictures of many bands, as those of the earth from above: 21, 33 and 103 features a point."""
    return [
        Case(seed, 3, 12, 15, "bands", "potts", "DIAG_KERNEL", NORMALIZATIONS[seed % 4], 5) for seed in (49, 50, 51)
    ]


def large_cases(count, side):
    """The same at random and larger."""
    cases = []
    for seed in range(1000, 1000 + count):
        rng = np.random.default_rng(seed)
        case = small_cases()[seed * 7 % 44]
        height, width = (side // 2 + int(side * rng.random()) for _ in range(2))
        labels, features = 2 + int(39 * rng.random()), FEATURES[int(5 * rng.random())]
        cases.append(replace(case, seed=seed, height=height, width=width, labels=labels, features=features))
    return cases


def photo(rng, height, width, channels=3):
    """Patches of color with some noise, uint8."""
    patches = rng.random((-(-height // 4), -(-width // 4), channels))
    pixels = patches.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]
    return (255 * np.clip(pixels + 0.1 * rng.random((height, width, channels)), 0, 1)).astype(np.uint8)


def probabilities(rng, labels, height, width):
    """Random, and alike in neighboring pixels, (labels, height, width) float32."""
    scores = rng.random((labels, -(-height // 3), -(-width // 3))).repeat(3, axis=1).repeat(3, axis=2)
    weights = np.exp(3 * scores[:, :height, :width] + rng.random((labels, height, width)))
    return (weights / weights.sum(axis=0)).astype(np.float32)


def compatibility(rng, form, labels, weight):
    """A compatibility whose messages favor what neighbors believe, with about that weight."""
    if form == "potts":
        return weight
    if form == "vector":
        return (-weight * (0.5 + rng.random(labels))).astype(np.float32)
    costs = weight * rng.random((labels, labels))
    np.fill_diagonal(costs, -weight)
    return costs.astype(np.float32)


def build(module, case):
    """Return the case's CRF, built with a module: "pydensecrf" or "atrous.pydensecrf"."""
    dcrf, utils = import_module(f"{module}.densecrf"), import_module(f"{module}.utils")
    rng = np.random.default_rng(case.seed)
    height, width, labels = case.height, case.width, case.labels
    unary = utils.unary_from_softmax(probabilities(rng, labels, height, width))
    how = {"kernel": getattr(dcrf, case.kernel), "normalization": getattr(dcrf, case.normalization)}
    # Without normalization a message sums over all neighbors: keep it about as large as the others.
    weight = 0.03 if case.normalization == "NO_NORMALIZATION" else 3.0

    def compat():
        return compatibility(rng, case.form, labels, weight)

    if case.features in ("gaussian", "bilateral", "both"):
        crf = dcrf.DenseCRF2D(width, height, labels)
        crf.setUnaryEnergy(unary)
        if case.features != "bilateral":
            crf.addPairwiseGaussian(sxy=(3, 2), compat=compat(), **how)
        if case.features != "gaussian":
            image = photo(rng, height, width)
            crf.addPairwiseBilateral(sxy=20, srgb=(13, 10, 20), rgbim=image, compat=compat(), **how)
        return crf

    crf = dcrf.DenseCRF(height * width, labels)
    crf.setUnaryEnergy(unary)
    if case.features == "volume":  # rows of a picture as a volume one pixel deep, two channels
        volume = photo(rng, height, width, 2)[:, :, None]
        crf.addPairwiseEnergy(utils.create_pairwise_gaussian((3, 3, 1), volume.shape[:3]), compat(), **how)
        features = utils.create_pairwise_bilateral((10, 10, 1), (13, 20), volume, chdim=3)
        crf.addPairwiseEnergy(features, compat(), **how)
    elif case.features == "bands":
        bands = {49: 19, 50: 31, 51: 101}[case.seed]
        image = photo(rng, height, width, bands)
        features = utils.create_pairwise_bilateral((10, 10), (60.0,) * bands, image, chdim=2)
        crf.addPairwiseEnergy(features, compat(), **how)
    elif case.features == "ties":
        grid = np.indices((height, width)).reshape(2, -1)
        features = np.concatenate([grid, 256 * rng.random((3, height * width)) // 1]) / (1 + case.seed % 3)
        features[2:] /= 16
        crf.addPairwiseEnergy(features.astype(np.float32), compat(), **how)
    else:
        dimensions = 1 + case.seed % 7
        features = (4 * rng.random((dimensions, height * width))).astype(np.float32)
        crf.addPairwiseEnergy(features, compat(), **how)
    return crf


def solve(module, case):
    """Return the case's marginals, (labels, points) float32."""
    return np.array(build(module, case).inference(case.iterations))

"""Measure what pruning changes: the share of final labels that differ from those of `prune=0`.

    python benchmarks/pruning.py PHOTO...
    python benchmarks/pruning.py --write PHOTO...     the tables into docs/benchmarks.md

The bundled network gives the photos' probabilities. They are divided among 60 and 150 labels (see crf_inputs.py) and
softened by a temperature. Constructed inputs on which a bound of probabilities themselves would fail are measured too.
"""

import argparse
from pathlib import Path

import numpy as np

from atrous import Segmenter
from atrous.crf import PRESETS, Bilateral, DenseCRF, Spatial
from atrous.image_io.decode import read_image
from crf_inputs import ROOT, covering, softened, with_labels
from pages import insert

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN = "<!-- written by benchmarks/pruning.py -->"

TEMPERATURES, LABELS = (1, 2, 4, 8), (21, 60, 150)
SPATIAL = Spatial(weight=3, sxy=3)
AFTER = {"normalization": "after", "iterations": 10}
SETTINGS = {
    **{f'"{name}"': (kernels, AFTER) for name, kernels in PRESETS.items()},
    "w=4, sxy=49, srgb=5": ((SPATIAL, Bilateral(weight=4, sxy=49, srgb=5)), AFTER),
    "w=10, sxy=80, srgb=13, symmetric": (
        (SPATIAL, Bilateral(weight=10, sxy=80, srgb=13)),
        {"normalization": "symmetric", "iterations": 5},
    ),
    "w=20, sxy=80, srgb=13": ((SPATIAL, Bilateral(weight=20, sxy=80, srgb=13)), AFTER),
}


def changed(image, kernels, options, probabilities):
    """Return the percentage of labels that pruning changes, and the mean number of labels that stay."""
    found = DenseCRF(image, kernels, **options).infer(probabilities)
    kept = DenseCRF(image, kernels, prune=0, **options).labels(probabilities)
    return 100 * float(np.mean(found.labels != kept)), len(found.active_labels)


def photo_table(photos, settings):
    """Return rows (title, worst percentage of each temperature and number of labels)."""
    segmenter = Segmenter(crf=None)
    worst = {name: np.zeros((len(TEMPERATURES), len(LABELS))) for name in settings}
    for photo in photos:
        image = read_image(photo)
        probabilities = segmenter.probabilities(image)
        for c, labels in enumerate(LABELS):
            divided = with_labels(probabilities, labels)
            for t, temperature in enumerate(TEMPERATURES):
                given = softened(divided, temperature)
                for name in settings:
                    share, _ = changed(image, *SETTINGS[name], given)
                    worst[name][t, c] = max(worst[name][t, c], share)
        print(photo, {name: round(float(of.max()), 4) for name, of in worst.items()}, flush=True)
    head = ("worst photo, %", *(f"T={t}, {c}" for t in TEMPERATURES for c in LABELS))
    return [head, *((name, *(f"{share:.3f}" for share in of.ravel())) for name, of in worst.items())]


def _scattered(random, labels, base, winner, shape, block=1):
    """Label 0 has `base` everywhere; a random other one has `winner` at each block of pixels."""
    height, width = shape
    p = np.full((labels, height, width), (1 - base - winner) / (labels - 2), np.float32)
    chosen = random.integers(1, labels, (-(-height // block), -(-width // block)))
    chosen = chosen.repeat(block, axis=0).repeat(block, axis=1)[:height, :width]
    np.put_along_axis(p, chosen[None], np.float32(winner), axis=0)
    p[0] = base
    return p


def _constant(shape, *values):
    return np.broadcast_to(np.array(values, np.float32)[:, None, None], (len(values), *shape)).copy()


def _front(shape):
    """Label 1 rules the left; on the right label 0 has almost all."""
    p = _constant(shape, 0.991, 0.009)
    p[:, :, : shape[1] // 3] = np.array([0.1, 0.9], np.float32)[:, None, None]
    return p


def constructed():
    """Yield (title, image, kernels, options, probabilities)."""
    random = np.random.default_rng(0)
    image = np.ascontiguousarray(covering("cat", 240, 320))
    shape, flat = image.shape[:2], np.full_like(image, 128)
    seven = (SPATIAL, Bilateral(weight=4, sxy=49, srgb=5))
    thirteen = (SPATIAL, Bilateral(weight=10, sxy=80, srgb=13))
    symmetric = {"normalization": "symmetric"}
    forty = _scattered(random, 40, 0.049, 0.06, shape)
    hundred = _scattered(random, 100, 0.045, 0.08, shape)
    blocks = _scattered(random, 150, 0.045, 0.08, shape, block=8)
    yield "40 labels, one of 0.049 everywhere, others of 0.06 at random, w=4", image, seven, {}, forty
    yield "the same, w=10", image, thirteen, {}, forty
    yield "100 labels, 0.045 against 0.08 at random, w=10", image, thirteen, {}, hundred
    yield "150 labels, 0.045 against 0.08 in blocks, w=10", image, thirteen, {}, blocks
    yield "the same, symmetric", image, thirteen, symmetric, blocks
    three = _constant(shape, 0.5, 0.46, 0.04)
    yield "compatibility [1, 1, 20], a label of 0.04", image, thirteen, {"compatibility": [1, 1, 20]}, three
    rare = _constant(shape, 0.5, 0.48, 0.02)
    yield "compatibility [1, 1, 40], a label of 0.02", image, thirteen, {"compatibility": [1, 1, 40]}, rare
    yield "flat image, front of a label of 0.009, w=10", flat, thirteen, {}, _front(shape)
    for labels in (21, 40, 150):
        for noise in (0.01, 0.1, 0.5):
            p = 1 + noise * random.random((labels, *shape), np.float32)
            title = f"{labels} labels, uniform but for {100 * noise:g} % of noise, w=10"
            yield title, image, thirteen, {}, p / p.sum(axis=0)


def constructed_table():
    """Return rows (title, percentage)."""
    rows = [("constructed", "changed, %")]
    for title, image, kernels, options, probabilities in constructed():
        share, _ = changed(image, kernels, options, probabilities)
        rows.append((title, f"{share:.3f}"))
        print(title, rows[-1][1], flush=True)
    return rows


def markdown(rows):
    """Return a table's lines."""
    head, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return [head, "|---" * len(rows[0]) + "|", *rest]


def main():
    """Measure, print, and write the tables where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="*", help="default: the constructed inputs only")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/benchmarks.md")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    arguments = parser.parse_args()
    lines = markdown(constructed_table())
    if arguments.photos:
        lines = [*markdown(photo_table(arguments.photos, arguments.settings)), "", *lines]
    print("\n".join(lines))
    if arguments.write:
        insert(PAGE, BEGIN, "\n".join(lines))


if __name__ == "__main__":
    main()

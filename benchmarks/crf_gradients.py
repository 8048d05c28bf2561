"""Compare the gradients of the CRF layer's filters with those of the exact kernel.

    python benchmarks/crf_gradients.py [--write]

Crops of 40 x 40 pixels of the example photos, 21 labels, 10 mean-field steps, cross-entropy. An error is
|g - g0| / |g0|, g0 the gradient of "exact" in float64. The last row is the lattice whose backward pass filters by the
matrix itself in place of its transpose; there g0 is the lattice's own gradient. --write inserts the table into
docs/layer.md.
"""

import argparse
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F

from atrous.image_io import read_image
from atrous.meanfield import DenseCRFLayer
from atrous.meanfield.lattice import Lattice
from crf_inputs import ROOT
from pages import insert

PAGE = ROOT / "docs" / "layer.md"
BEGIN = "<!-- written by benchmarks/crf_gradients.py -->"
SIDE, LABELS = 40, 21
QUANTITIES = ("logits", "weights", "compatibility", "sxy, srgb", "image")
PRESETS = ("deeplab-largefov", "deeplab-coco-largefov")


def scenes():
    """Yield (logits, labels, image): crops of photos, scores as smooth as a network's, in float64."""
    random = torch.Generator().manual_seed(0)
    for name in ("cat", "astronaut", "photographer"):
        photo = torch.from_numpy(np.array(read_image(ROOT / "examples" / f"{name}.jpg"))).permute(2, 0, 1).double()
        for _ in range(2):
            y, x = (int(torch.randint(size - SIDE, (), generator=random)) for size in photo.shape[1:])
            coarse = 3 * torch.randn(2, LABELS, 7, 7, generator=random, dtype=torch.float64)
            logits, target = F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear", align_corners=True)[:, None]
            yield logits, target.argmax(1), photo[None, :, y : y + SIDE, x : x + SIDE]


def gradients(scene, preset, filtering, dtype, features=True):
    """Return the gradient at each quantity, as one vector; without features at the first three."""
    learn = ("weights", "compatibility", *(("sxy", "srgb") if features else ()))
    layer = DenseCRFLayer(preset, labels=LABELS, compatibility="matrix", learn=learn, filtering=filtering).to(dtype)
    logits, labels, image = scene
    logits, image = logits.to(dtype).detach().requires_grad_(), image.to(dtype).detach().requires_grad_(features)
    F.cross_entropy(layer(logits, image), labels).backward()
    parts = [[logits], layer.weights, [layer.rewards]]
    if features:
        parts += [[*layer.log_sxy, *layer.log_srgb], [image]]
    return [torch.cat([each.grad.double().flatten() for each in part]) for part in parts]


@contextmanager
def untransposed():
    """Let the lattice filter by its matrix where its transpose is asked for."""
    apply = Lattice.apply
    with mock.patch.object(Lattice, "apply", lambda self, values, *, transposed=False: apply(self, values)):
        yield


def row(title, pairs):
    """Return a table's row: the median error of each quantity, in %."""
    errors = [[float((g - g0).norm() / g0.norm()) for g, g0 in zip(*pair, strict=True)] for pair in pairs]
    cells = [f"{100 * error:.1f}" for error in np.median(errors, 0)]
    return f"| {title} | " + " | ".join(cells + [""] * (len(QUANTITIES) - len(cells))) + " |"


def main():
    """Print the table; insert it into the page on request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="insert the table into docs/layer.md")
    given = parser.parse_args()
    cases = [(scene, preset) for scene in scenes() for preset in PRESETS]
    found = {
        filtering: [gradients(*case, filtering, dtype) for case in cases]
        for filtering, dtype in (("exact", torch.float64), ("lattice", torch.float32), ("fine", torch.float32))
    }
    lattice = [gradients(*case, "lattice", torch.float64, features=False) for case in cases]
    with untransposed():
        peer = [gradients(*case, "lattice", torch.float64, features=False) for case in cases]
    lines = [f"| | {' | '.join(QUANTITIES)} |", "|---|" + "---:|" * len(QUANTITIES)]
    lines += [row(f'"{name}"', list(zip(found[name], found["exact"], strict=True))) for name in ("lattice", "fine")]
    lines.append(row("the lattice's matrix in place of its transpose", list(zip(peer, lattice, strict=True))))
    lines.append(
        f"\nMedians of {len(cases)} cases: crops of {SIDE} x {SIDE} pixels, the presets {' and '.join(PRESETS)}."
    )
    print("\n".join(lines))
    if given.write:
        insert(PAGE, BEGIN, "\n".join(lines))


if __name__ == "__main__":
    main()

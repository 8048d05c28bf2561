"""Inference on a volume step by step, with the divergence after each step, with either module.

python examples/pydensecrf/step_by_step.py --module atrous.pydensecrf --out slice.png
python examples/pydensecrf/step_by_step.py --module pydensecrf --out slice.png
"""

import argparse
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

SHAPE = (12, 60, 80)
LABELS = 3
GRAYS = (40, 120, 200)


def volume(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the true labels and a noisy gray volume of two balls, each of SHAPE."""
    z, y, x = np.indices(SHAPE)
    labels = np.zeros(SHAPE, int)
    labels[(4 * (z - 6)) ** 2 + (y - 25) ** 2 + (x - 25) ** 2 < 18**2] = 1
    labels[(4 * (z - 6)) ** 2 + (y - 35) ** 2 + (x - 58) ** 2 < 16**2] = 2
    gray = np.array(GRAYS)[labels] + 20 * rng.standard_normal(SHAPE)
    return labels, np.clip(gray, 0, 255).astype(np.uint8)


def main() -> None:
    """Run the CRF step by step and save the middle slice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", choices=["atrous.pydensecrf", "pydensecrf"], default="atrous.pydensecrf")
    parser.add_argument("--out", type=Path, default=Path("step_by_step.png"))
    arguments = parser.parse_args()
    dcrf, utils = import_module(f"{arguments.module}.densecrf"), import_module(f"{arguments.module}.utils")

    rng = np.random.default_rng(0)
    truth, gray = volume(rng)
    guess = np.where(rng.random(SHAPE) < 0.6, truth, (LABELS * rng.random(SHAPE)).astype(int))

    crf = dcrf.DenseCRF(truth.size, LABELS)
    crf.setUnaryEnergy(utils.unary_from_labels(guess, LABELS, gt_prob=0.5, zero_unsure=False))
    crf.addPairwiseEnergy(utils.create_pairwise_gaussian(sdims=(1, 2, 2), shape=SHAPE), compat=3)
    crf.addPairwiseEnergy(utils.create_pairwise_bilateral(sdims=(2, 8, 8), schan=20, img=gray), compat=5)

    marginals, first, second = crf.startInference()
    for step in range(5):
        print(f"step {step}: divergence {crf.klDivergence(marginals):.1f}")
        crf.stepInference(marginals, first, second)
    found = np.argmax(np.array(marginals), axis=0).reshape(SHAPE)

    Image.fromarray((found[SHAPE[0] // 2] * 127).astype(np.uint8)).save(arguments.out)
    print("voxels of each label:", *np.bincount(found.ravel(), minlength=LABELS))
    print("wrong voxels, before and after:", (guess != truth).sum(), (found != truth).sum())


if __name__ == "__main__":
    main()

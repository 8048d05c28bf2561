"""A probability map and an image that is not RGB, as in pydensecrf's notebook on other channels, with either module.

python examples/pydensecrf/other_channels.py --module atrous.pydensecrf --out mask.png
python examples/pydensecrf/other_channels.py --module pydensecrf --out mask.png
"""

import argparse
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH, CHANNELS = 160, 240, 5


def disc(x: float, y: float, radius: float) -> np.ndarray:
    """Return the mask of a disc, (HEIGHT, WIDTH) bool."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def blurred_guess() -> np.ndarray:
    """Return blurred probabilities of background and object, shifted by some pixels, (2, HEIGHT, WIDTH)."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(columns - 118, rows - 86)
    inside = 0.2 + 0.6 / (1 + np.exp((distance - 55) / 15))
    return np.stack([1 - inside, inside])


def channels(rng: np.random.Generator) -> np.ndarray:
    """Return an image with five channels, three of which show the object, (HEIGHT, WIDTH, 5) float32."""
    image = 0.15 * rng.standard_normal((HEIGHT, WIDTH, CHANNELS))
    image[disc(125, 80, 50)] += [1, 0, -0.6, 0, 0.4]
    return image.astype(np.float32)


def main() -> None:
    """Run the CRF and save its mask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", choices=["atrous.pydensecrf", "pydensecrf"], default="atrous.pydensecrf")
    parser.add_argument("--out", type=Path, default=Path("other_channels.png"))
    arguments = parser.parse_args()
    dcrf, utils = import_module(f"{arguments.module}.densecrf"), import_module(f"{arguments.module}.utils")

    probabilities = blurred_guess()
    truth = disc(125, 80, 50)
    crf = dcrf.DenseCRF2D(WIDTH, HEIGHT, 2)
    crf.setUnaryEnergy(utils.unary_from_softmax(probabilities))
    before = np.argmax(crf.inference(10), axis=0).reshape(HEIGHT, WIDTH)

    features = utils.create_pairwise_bilateral(
        sdims=(10, 10), schan=0.5, img=channels(np.random.default_rng(0)), chdim=2
    )
    crf.addPairwiseEnergy(features, compat=10)
    after = np.argmax(crf.inference(10), axis=0).reshape(HEIGHT, WIDTH)

    Image.fromarray((255 * after).astype(np.uint8)).save(arguments.out)
    print("pixels of each label:", *np.bincount(after.ravel(), minlength=2))
    print("wrong pixels, before and after:", (before != truth).sum(), (after != truth).sum())


if __name__ == "__main__":
    main()

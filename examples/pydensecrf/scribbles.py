"""A mask from an image and a few scribbled labels: pydensecrf's first example, with either module.

python examples/pydensecrf/scribbles.py --module atrous.pydensecrf --out mask.png
python examples/pydensecrf/scribbles.py --module pydensecrf --out mask.png
"""

import argparse
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

IMAGE = Path(__file__).parents[1] / "cat.jpg"
# Rectangles in thousandths of width and height: 1 is the cat, 2 the background. The rest is 0, unsure.
SCRIBBLES = [(1, (350, 450, 650, 850)), (1, (400, 200, 600, 400)), (2, (0, 0, 1000, 60)), (2, (0, 0, 60, 500))]


def scribble(width: int, height: int) -> np.ndarray:
    """Return the scribbled labels, (height, width) uint8."""
    labels = Image.new("L", (width, height))
    for label, (left, top, right, bottom) in SCRIBBLES:
        corners = [left * width // 1000, top * height // 1000, right * width // 1000, bottom * height // 1000]
        ImageDraw.Draw(labels).rectangle(corners, fill=label)
    return np.array(labels)


def main() -> None:
    """Run the CRF and save its mask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", choices=["atrous.pydensecrf", "pydensecrf"], default="atrous.pydensecrf")
    parser.add_argument("--image", type=Path, default=IMAGE)
    parser.add_argument("--width", type=int, default=500, help="width to which the image is resized")
    parser.add_argument("--out", type=Path, default=Path("scribbles.png"))
    arguments = parser.parse_args()
    dcrf, utils = import_module(f"{arguments.module}.densecrf"), import_module(f"{arguments.module}.utils")

    with Image.open(arguments.image) as opened:
        resized = opened.convert("RGB")
    resized = resized.resize((arguments.width, max(1, arguments.width * resized.height // resized.width)))
    image = np.array(resized)
    height, width = image.shape[:2]
    labels = scribble(width, height).astype(int)

    crf = dcrf.DenseCRF2D(width, height, 2)
    crf.setUnaryEnergy(utils.unary_from_labels(labels, 2, gt_prob=0.7, zero_unsure=True))
    crf.addPairwiseGaussian(sxy=(3, 3), compat=3, kernel=dcrf.DIAG_KERNEL, normalization=dcrf.NORMALIZE_SYMMETRIC)
    crf.addPairwiseBilateral(
        sxy=(80, 80),
        srgb=(13, 13, 13),
        rgbim=image,
        compat=10,
        kernel=dcrf.DIAG_KERNEL,
        normalization=dcrf.NORMALIZE_SYMMETRIC,
    )
    found = np.argmax(crf.inference(5), axis=0).reshape(height, width)

    Image.fromarray((255 * (found == 0)).astype(np.uint8)).save(arguments.out)
    print("pixels of each label:", *np.bincount(found.ravel(), minlength=2))


if __name__ == "__main__":
    main()

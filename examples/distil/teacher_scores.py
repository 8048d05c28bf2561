"""Scores of a DeepLab v3 (MobileNetV2) teacher in TensorFlow Lite, as soft targets for `atrous train`.

The network is `deeplabv3_mnv2_pascal_quant.tflite` of Google Coral's test data (Apache 2.0). It takes 513 x 513 pixels
and scores VOC's 21 classes on a grid of 33 x 33 cells, with cell k at pixel 16 k. For each image the script writes
`OUT/NAME.npy`: float16 logits (21, h, w) whose corner cells lie on the image's corner pixels, the format of `atrous
train DATA --soft-targets OUT`.

    pip install ai-edge-litert pillow
    python teacher_scores.py deeplabv3_mnv2_pascal_quant.tflite VOC2012/JPEGImages scores
"""

import argparse
import os
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from PIL import Image, ImageOps

SIDE = 513  # of the network's input
STRIDE = 16
GRAY = 127  # beyond the image

# Output tensor before the upsampling to a label map, and its quantization parameters in the file.
SCORES = 182
ZERO_POINT, SCALE = 36, 0.2015


class Teacher:
    """Network that runs in one thread.

    Parameters
    ----------
    path : path
        The TensorFlow Lite file.
    """

    def __init__(self, path: Path) -> None:
        self.network = Interpreter(str(path), experimental_preserve_all_tensors=True, num_threads=1)
        self.network.allocate_tensors()
        (self.input,) = (entry["index"] for entry in self.network.get_input_details())

    def logits(self, image: Image.Image) -> NDArray[np.float16]:
        """Return the (21, h, w) logits of an image; the corner cells lie on its corner pixels."""
        scale = SIDE / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        canvas = np.full((SIDE, SIDE, 3), GRAY, np.uint8)
        canvas[:height, :width] = image.resize((width, height), Image.Resampling.BILINEAR)
        self.network.set_tensor(self.input, canvas[None])
        self.network.invoke()
        (scores,) = self.network.get_tensor(SCORES)
        return on_image(((scores.astype(np.float32) - ZERO_POINT) * SCALE).transpose(2, 0, 1), height, width)


def on_image(scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.float16]:
    """Interpolate scores of the padded square on a grid that covers only the image of `height` x `width` pixels."""
    for axis, side in ((1, height), (2, width)):
        places = np.linspace(0, (side - 1) / STRIDE, -(-(side - 1) // STRIDE) + 1)
        first = np.minimum(places.astype(int), scores.shape[axis] - 2)
        share = (places - first).astype(np.float32)
        share = share[:, None] if axis == 1 else share
        scores = scores.take(first, axis) * (1 - share) + scores.take(first + 1, axis) * share
    return scores.astype(np.float16)


def main() -> None:
    """Score all images of a folder; skip existing files."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("teacher", type=Path, help="deeplabv3_mnv2_pascal_quant.tflite")
    arguments.add_argument("images", type=Path, help="Folder of .jpg images.")
    arguments.add_argument("out", type=Path, help="Folder of the scores.")
    given = arguments.parse_args()
    teacher = Teacher(given.teacher)
    given.out.mkdir(parents=True, exist_ok=True)
    images = sorted(given.images.glob("*.jpg"))
    if not images:
        arguments.error(f"{given.images}: expected .jpg images, got none")
    for path in images:
        target = given.out / f"{path.stem}.npy"
        if target.exists():
            continue
        with Image.open(path) as image:
            logits = teacher.logits(ImageOps.exif_transpose(image).convert("RGB"))
        # Atomic, so that a second run can skip the file.
        temporary = target.with_suffix(".tmp")
        with temporary.open("wb") as file:
            np.save(file, logits)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    print(f"{len(images)} images: scores in {given.out}")


if __name__ == "__main__":
    main()

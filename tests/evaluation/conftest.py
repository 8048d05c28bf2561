import shutil

import numpy as np
import pytest

from atrous.data.folder_dataset import read_list
from atrous.data.metadata import CrfParameters, ModelMetadata


class ColorEngine:
    """A "network" that knows: red pixels are class 1, blue ones class 2."""

    metadata = ModelMetadata(
        variant="deeplab-largefov",
        classes=("background", "red", "blue"),
        palette=((0, 0, 0), (128, 0, 0), (0, 128, 0)),
        mean=(0.0, 0.0, 0.0),
        crf=CrfParameters(weight=3, sxy=20, srgb=30),
        training_list="none",
        training_list_sha256="",
        precision="float32",
    )

    def scores(self, image):
        cells = image[::8, ::8].astype(np.float32)
        red, _, blue = np.moveaxis(cells, 2, 0)
        scores = np.stack([np.full_like(red, 100), red, blue]) / 25
        pad = [-(-(n + 31) // 32) * 4 - 3 for n in image.shape[:2]]
        return np.pad(scores, ((0, 0), *((0, p - n) for p, n in zip(pad, red.shape, strict=True))), "edge")


@pytest.fixture
def engine():
    return ColorEngine()


@pytest.fixture
def samples(tiny_voc):
    return read_list(tiny_voc, "train").samples


@pytest.fixture
def small_data(tiny_voc, tmp_path):
    """The tiny VOC folder with the classes of the tiny model; may be changed."""
    shutil.copytree(tiny_voc, tmp_path / "data")
    (tmp_path / "data" / "classes.txt").write_text("background\nred\nblue\n")
    return tmp_path / "data"

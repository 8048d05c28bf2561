import dataclasses

import numpy as np
import pytest
from PIL import Image

from atrous._quiet_imports import SWITCHES, disable_telemetry
from tiny_model import make_model, red_square, tiny_metadata, tiny_model  # noqa: F401

disable_telemetry(*SWITCHES)  # of what tests import themselves


@pytest.fixture(scope="session")
def tiny_voc(tmp_path_factory):
    """Six random photos of 40x50 pixels with labels of two classes and some void, in VOC's layout."""
    root = tmp_path_factory.mktemp("voc")
    for folder in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"photo{i}" for i in range(6)]
    for i, name in enumerate(names):
        labels = np.zeros((40, 50), np.uint8)
        labels[5:30, 10:30] = 1 + i % 2
        labels[30:32, 10:30] = 255
        image = rng.integers(0, 90, (40, 50, 3), dtype=np.uint8)
        image[labels == 1, 0] += 120
        image[labels == 2, 2] += 120
        Image.fromarray(image).save(root / "JPEGImages" / f"{name}.jpg", quality=95)
        Image.fromarray(labels).save(root / "SegmentationClassAug" / f"{name}.png")
    (root / "ImageSets/Segmentation/train.txt").write_text("\n".join(names))
    return root


@pytest.fixture
def narrow(monkeypatch):
    """Networks of the paper's geometry with four channels a layer while the test runs."""
    pytest.importorskip("torch", reason="needs the extra 'train'")
    from atrous.network import multiscale
    from atrous.network.deeplab import TRUNK
    from atrous.network.variants import VARIANTS

    for stage, spec in TRUNK.items():
        monkeypatch.setitem(TRUNK, stage, spec._replace(channels=4))
    for name, row in VARIANTS.items():
        monkeypatch.setitem(VARIANTS, name, dataclasses.replace(row, channels=4))
    for name, (channels, stride) in multiscale.BRANCHES.items():
        monkeypatch.setitem(multiscale.BRANCHES, name, (min(channels, 4), stride))
    monkeypatch.setattr(multiscale, "BRANCH_CHANNELS", 4)

"""Commands that run in hostile places, and what they run on."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command import NARROW
from forks import Forks
from jobs import Job, make_job
from PIL import Image

VGG = """
import sys, narrow, torch
from safetensors.torch import save_file
from atrous.network.deeplab import DeepLab

narrow.make_narrow()
torch.manual_seed(0)
save_file({k: v for k, v in DeepLab().state_dict().items() if k.startswith("conv")}, sys.argv[1])
"""


def draw_photo(path: Path, width: int = 40) -> Path:
    """Draw 64 x 96 gray pixels with a red square."""
    image = np.full((64, 96, 3), 128, np.uint8)
    image[16:48, 24 : 24 + width] = 230, 20, 20
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


@pytest.fixture(scope="session")
def draw() -> Callable[..., Path]:
    return draw_photo


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(6):
        draw_photo(folder / f"photo{i}.png", 24 + 6 * i)
    return folder


@pytest.fixture(scope="session")
def model(tiny_model: Path) -> tuple[object, ...]:
    """Options that name the tiny model, on the engine that every installation has."""
    return "--model", tiny_model, "--engine", "onnxruntime"


@pytest.fixture(scope="session")
def data(tiny_voc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six labeled photos of three classes, in a folder of our layout."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").symlink_to(tiny_voc / "JPEGImages", target_is_directory=True)
    (folder / "labels").symlink_to(tiny_voc / "SegmentationClassAug", target_is_directory=True)
    (folder / "classes.txt").write_text("background\nred\nblue\n")
    return folder


@pytest.fixture(scope="session")
def light() -> Iterator[Forks]:
    """Forks of a process without PyTorch."""
    yield from _forks("atrous.segmenter", "onnxruntime", "rich.progress", "atrous.bulk.driver")


@pytest.fixture(scope="session")
def heavy() -> Iterator[Forks]:
    """Forks of a process with PyTorch and networks of a few channels."""
    pytest.importorskip("torch", reason="needs the extra 'train'")
    optional = ("matplotlib.pyplot", "onnxscript", "torch.utils.tensorboard")
    yield from _forks("atrous.training.train", "atrous.segmenter", "rich.progress", *optional, narrow=True)


def _forks(*modules: str, narrow: bool = False) -> Iterator[Forks]:
    if sys.platform == "win32":
        pytest.skip("needs fork")
    forks = Forks("atrous.cli", *modules, narrow=narrow)
    yield forks
    forks.close()


@pytest.fixture(scope="session")
def vgg(heavy: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolutions of the narrow network at random, in the file format of the ImageNet ones."""
    path = tmp_path_factory.mktemp("vgg") / "vgg.safetensors"
    subprocess.run([sys.executable, "-c", VGG, path], cwd=NARROW.parent, check=True)
    return path


@pytest.fixture(scope="session")
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Job]:
    """Return a small run of a command, its output folder empty."""
    known: dict[str, Job] = {}

    def of(name: str) -> Job:
        if name not in known:
            known[name] = make_job(name, request.getfixturevalue, tmp_path_factory.mktemp(name))
        known[name].clear()
        return known[name]

    return of


@pytest.fixture(scope="session")
def trained(job: Callable[[str], Job], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training run."""
    run = job("train")
    run().done()
    return shutil.copytree(run.out, tmp_path_factory.mktemp("trained") / "run")

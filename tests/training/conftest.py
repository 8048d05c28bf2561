import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

import narrow
from safetensors.torch import save_file

from atrous.data.dataset import open_dataset
from atrous.network import deeplab, multiscale, variants

NARROW = Path(narrow.__file__)


@pytest.fixture
def narrow_network(monkeypatch):
    """Networks of a few channels, in this process."""
    monkeypatch.setattr(deeplab, "TRUNK", dict(deeplab.TRUNK))
    monkeypatch.setattr(multiscale, "BRANCHES", dict(multiscale.BRANCHES))
    monkeypatch.setattr(variants, "VARIANTS", dict(variants.VARIANTS))
    narrow.make_narrow()


@pytest.fixture(scope="session")
def class_list(tmp_path_factory):
    path = tmp_path_factory.mktemp("classes") / "classes.txt"
    path.write_text("background\nred\nblue\n")
    return path


@pytest.fixture
def dataset(tiny_voc, class_list):
    return open_dataset(tiny_voc, classes=class_list)


@pytest.fixture
def vgg(narrow_network, tmp_path):
    """Convolutions at random, in the file format of the ImageNet ones."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, parameter in deeplab.DeepLab().named_parameters():
        if name.startswith("conv"):
            std = (2 / parameter[0].numel()) ** 0.5 if name.endswith("weight") else 0.0
            tensors[name] = (torch.randn(parameter.shape, generator=generator) * std).half()
    path = tmp_path / "vgg.safetensors"
    save_file(tensors, path)
    return path


def command(*arguments, before=(), torchrun=(), **environment):
    """Start `atrous` with a narrow network, after the words of another command; returns the process."""
    launcher = [*before, sys.executable]
    if torchrun:
        launcher += ["-m", "torch.distributed.run", *torchrun]
    return subprocess.Popen(
        [*launcher, str(NARROW), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment},
        start_new_session=True,
    )


@pytest.fixture
def atrous_command():
    """Start processes; those that a failed test leaves are ended."""
    started = []

    def start(*arguments, **options):
        started.append(command(*arguments, **options))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

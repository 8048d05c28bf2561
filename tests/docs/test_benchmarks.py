"""The scripts of benchmarks/ run: they are rarely used and would fail unnoticed."""

import ast
import importlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
from code_blocks import ROOT

# "VOC" stands for a small data set.
COMMANDS = [
    "crf.py --case textured-2 --rounds 1 --seconds 1 --json {tmp}/crf.json",
    "crf_gpu.py --device cpu --sides 41 --batches 1 --runs 1",
    "crf_layer.py --runs 1",
    "evaluate.py VOC --limit 2 --workers 1 --rounds 1",
    "folder.py memory --images 3 --side 60 --engine onnxruntime",
    "folder.py speed --images 2 --rounds 1 --engine onnxruntime",
    "folder.py start --engine onnxruntime",
    "operators.py --size 41 49 --runs 1",
    "pruning.py",
    "readme_image.py --out {tmp}/image.jpg",
    "regions.py VOC --list train --limit 2 --crf model 5,40,5",
    "segment.py --runs 1 --engine onnxruntime",
    "serve.py --requests 4 --clients 2 --workers 1",
    "tiles.py --photos cat --sxy 20 --tile 200 --overlap 1",
    "training.py VOC --crop 65 --batch 2 --steps 1 --rounds 1 --workers 1 --images 4 --loader-seconds 0.2",
    "tune.py VOC --images 2",
    "variants.py deeplab-largefov --runs 1",
    "video.py --size 64x48 --frames 4 --long 8 --long-size 64x48",
]


def imported(path):
    """Return the (module, name) pairs that a script imports from atrous; name is None for a whole module."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found += [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] == "atrous"]


def exists(module, name):
    """Return whether the package has a module and, unless None, an attribute or submodule of it."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "atrous":
            pytest.skip(f"needs {error.name}")
        return False
    return name is None or hasattr(found, name) or exists(f"{module}.{name}", None)


@pytest.mark.parametrize("path", sorted(ROOT.glob("benchmarks/*.py")), ids=lambda path: path.name)
def test_names_exist(path):
    assert [pair for pair in imported(path) if not exists(*pair)] == []


@pytest.mark.parametrize("pair", [("atrous.training.progress", "Progress"), ("atrous.data.samples", "Nothing")])
def test_a_name_that_is_gone_is_noticed(pair):
    assert not exists(*pair)


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="benchmarks/ is not here")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split()[0])
def test_a_script_runs(command, tiny_voc, tmp_path):
    script, *arguments = command.split()
    if script in ("crf_gpu.py", "crf_layer.py", "training.py", "variants.py") and find_spec("torch") is None:
        pytest.skip("needs torch")
    voc = tmp_path / "voc"
    shutil.copytree(tiny_voc, voc)
    lists = voc / "ImageSets/Segmentation"
    for name in ("val.txt", "train_aug.txt"):
        shutil.copyfile(lists / "train.txt", lists / name)
    arguments = [str(voc) if each == "VOC" else each.format(tmp=tmp_path) for each in arguments]
    environment = {**os.environ, "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() or (tmp_path / "image.jpg").is_file()

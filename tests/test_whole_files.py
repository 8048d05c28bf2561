"""Every file that the package writes is whole or not there, whatever room the disk has."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import atrous

pytestmark = pytest.mark.skipif(os.name == "nt", reason="resource limits of POSIX")

# Writer: the packages that it needs.
WRITERS = {
    "masks": (),
    "label_map": (),
    "scores": (),
    "submission": (),
    "search": ("matplotlib",),
    "bulk": ("pyarrow", "fsspec"),
    "clip": ("av", "onnx"),
    "hub": ("huggingface_hub", "onnx"),
    "journal": ("torch",),
    "curves": ("torch", "matplotlib"),
    "checkpoint": ("torch",),
    "weights": ("torch",),
    "exported": ("torch", "onnxscript"),
    "hub_weights": ("torch", "huggingface_hub"),
}


def sweep(writer, folder, sizes, kind, *before):
    for package in WRITERS[writer]:
        pytest.importorskip(package)
    source, tests = Path(atrous.__file__).parents[1], Path(__file__).parent
    done = subprocess.run(
        [*before, sys.executable, tests / "full_disk.py", writer, folder, str(sizes), kind],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(tests), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    assert f"{sizes} sizes" in done.stdout


@pytest.mark.fault(
    "a limit of the file size (ulimit -f), for 31 limits",
    "No file is truncated. Files that belong together exist together or not at all.",
    of=("segment", "evaluate", "tune", "bulk", "train", "convert", "export"),
)
@pytest.mark.parametrize("writer", ["masks", "bulk", "clip", "submission"])
def test_a_file_that_cannot_grow_is_not_left_truncated(tmp_path, writer):
    sweep(writer, tmp_path, 31, "limit")


@pytest.mark.fault(
    "a limit of the file size (ulimit -f), for 31 limits",
    "No file is truncated. Files that belong together exist together or not at all.",
    of=("segment", "evaluate", "tune", "bulk", "train", "convert", "export"),
)
@pytest.mark.slow
@pytest.mark.parametrize(
    "writer", [writer for writer in WRITERS if writer not in ("masks", "bulk", "clip", "submission")]
)
def test_nor_is_any_other(tmp_path, writer):
    sweep(writer, tmp_path, 31, "limit")


@pytest.mark.fault(
    "a full disk, for 31 sizes",
    "No file is truncated. Files that belong together exist together or not at all.",
    of=("segment", "evaluate", "tune", "bulk", "train", "convert", "export"),
)
@pytest.mark.slow
@pytest.mark.parametrize("writer", [writer for writer in WRITERS if writer not in ("journal", "label_map", "scores")])
def test_on_a_disk_that_is_full_all_is_whole_or_not_there(tmp_path, writer):
    unshare = shutil.which("unshare")
    allowed = (
        unshare
        and not subprocess.run(
            [unshare, "-m", "mount", "-t", "tmpfs", "-o", "size=4096", "none", tmp_path], capture_output=True
        ).returncode
    )
    if not allowed:
        pytest.skip("no right to mount a disk")
    sweep(writer, tmp_path, 31, "disk", unshare, "-m")

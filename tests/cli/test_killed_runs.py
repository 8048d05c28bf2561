"""A folder run that is killed, and then the same command once more."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import atrous

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL, forks and file locks")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([os.fspath(Path(atrous.__file__).parents[1]), *sys.path])}


def photos(folder, count, height, width):
    rng = np.random.default_rng(0)
    (folder / "deep").mkdir(parents=True)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
        coarse.resize((width, height)).save(folder / ("deep" if i % 2 else ".") / f"{i}.png")
    return folder


def kill_at_points(tiny_model, tmp_path, *, step, exist):
    command = ["segment", str(photos(tmp_path / "in", 2, 30, 40)), "--model", str(tiny_model), "--threads", "1"]
    given = {
        "command": [*command, "--probabilities", "--engine", "onnxruntime"],
        "folder": str(tmp_path),
        "step": step,
        "exist": exist,
    }
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("killed_runs.py"), json.dumps(given)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("exist", [False, True])
def test_killed_between_two_changes_on_disk(tiny_model, tmp_path, exist):
    assert kill_at_points(tiny_model, tmp_path, step=7, exist=exist) > 3


@pytest.mark.slow
@pytest.mark.parametrize("exist", [False, True])
def test_killed_between_any_two_changes_on_disk(tiny_model, tmp_path, exist):
    assert kill_at_points(tiny_model, tmp_path, step=1, exist=exist) > 25


@pytest.mark.slow
def test_two_runs_at_a_time_in_one_folder(tiny_model, tmp_path):
    command = [sys.executable, "-m", "atrous", "segment", photos(tmp_path / "in", 24, 50, 60), "--model", tiny_model]
    runs = [
        subprocess.Popen([*command, "--out", tmp_path / "out"], stderr=subprocess.PIPE, env=ENVIRONMENT) for _ in "ab"
    ]
    assert [(run.communicate()[1], run.returncode) for run in runs] == [(b"", 0)] * 2
    assert sum(path.suffix in (".png", ".jpg") for path in (tmp_path / "out").rglob("*")) == 48
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 4])
def test_killed_at_20_random_moments(tiny_model, tmp_path, threads):
    given = photos(tmp_path / "in", 24, 150, 200)
    command = [sys.executable, "-m", "atrous", "segment", given, "--model", tiny_model, "--threads", str(threads)]

    def run(out):
        return subprocess.Popen(
            [*command, "--out", out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
        )

    def contents(out):
        return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if not p.is_dir()}

    begun = time.monotonic()
    process = run(tmp_path / "whole")
    assert process.stdout.readline()
    first = time.monotonic() - begun
    assert process.communicate()[1] == b""
    seconds = time.monotonic() - begun
    whole = contents(tmp_path / "whole")
    assert len(whole) == 48
    moments = random.Random(0)
    half_done = 0
    for n in range(20):
        out = tmp_path / str(n)
        process = run(out)
        time.sleep(moments.uniform(0.7 * first, seconds))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        # The mask is put in place last.
        done = sum(name.endswith(".png") and ".atrous" not in name for name in contents(out))
        half_done += 0 < done < 24
        last = run(out)
        printed, err = last.communicate()
        assert (last.returncode, err) == (0, b"")
        assert contents(out) == whole
        assert not [p for p in out.rglob("*") if p.name.startswith(".")]
        assert printed.count(b"\n") == 24 - done + (done > 0)
    assert half_done > 5

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import atrous

SOURCE = str(Path(atrous.__file__).parents[1])


def environment():
    paths = [SOURCE, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def torchrun(*arguments):
    pytest.importorskip("torch", reason="needs PyTorch for several processes")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "atrous"]
    return subprocess.Popen(
        [*command, "evaluate", *map(str, arguments)],
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_two_processes_find_what_one_finds(small_data, tiny_model, tmp_path):
    options = [small_data, "--list", "train", "--model", tiny_model, "--limit", "5", "--steps", "0,2", "--threads", "1"]
    several = torchrun(*options, "--json", tmp_path / "2.json", "--csv", tmp_path / "2.csv", "--submit", tmp_path / "2")
    alone = [sys.executable, "-m", "atrous", "evaluate", *map(str, options), "--json", str(tmp_path / "1.json")]
    alone += ["--csv", str(tmp_path / "1.csv"), "--submit", str(tmp_path / "1")]
    one = subprocess.run(alone, env=environment(), text=True, capture_output=True, check=True)
    stdout, stderr = several.communicate(timeout=300)
    assert several.returncode == 0, stderr
    assert (tmp_path / "2.csv").read_text() == (tmp_path / "1.csv").read_text()
    files = [path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.png")]
    assert len(files) == 5
    for file in files:
        assert (tmp_path / "2" / file).read_bytes() == (tmp_path / "1" / file).read_bytes()
    documents = [json.loads((tmp_path / f"{n}.json").read_text()) for n in (1, 2)]
    assert [document.pop("run")["processes"] for document in documents] == [1, 2]
    assert documents[0] == documents[1]

    def scores(text):
        return [line for line in text.splitlines() if not line.startswith(("over ", "wrote "))]

    # Once, by one of the processes.
    assert scores(stdout) == scores(one.stdout)
    assert stdout.count("over 5 of the 6 images") == 1


def test_a_process_that_fails_ends_the_others(small_data, tiny_model, tmp_path):
    (tmp_path / "list.txt").write_text("photo0\nphoto1\nphoto2")
    # The second process is to read this one.
    label = small_data / "SegmentationClassAug" / "photo1.png"
    label.write_bytes(b"no picture")
    several = torchrun(small_data, "--list", tmp_path / "list.txt", "--model", tiny_model)
    stdout, stderr = several.communicate(timeout=300)
    assert several.returncode != 0
    assert "photo1.png" in stderr
    assert "mean IoU" not in stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_ctrl_c_is_one_line(small_data, tiny_model, tmp_path):
    photos = 6 * ["photo0", "photo1", "photo2", "photo3", "photo4", "photo5"]
    names = [f"copy{i}" for i in range(len(photos))]
    for name, photo in zip(names, photos, strict=True):
        for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClassAug", "png")):
            (small_data / folder / f"{name}.{suffix}").symlink_to(small_data / folder / f"{photo}.{suffix}")
    (tmp_path / "list.txt").write_text("\n".join(names))
    steps = "0:100"  # takes a while
    command = [sys.executable, "-m", "atrous", "evaluate", str(small_data), "--list", str(tmp_path / "list.txt")]
    command += ["--model", str(tiny_model), "--steps", steps, "--submit", str(tmp_path / "out")]
    process = subprocess.Popen(
        command,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Jobs in the background have it switched off.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    inside = tmp_path / "out" / "results" / "VOC2012" / "Segmentation" / "comp6_list_cls"
    end = time.monotonic() + 60
    while not (inside.is_dir() and any(inside.iterdir())):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    lines = stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: interrupted after ")
    assert " of 36 images; " in lines[0]

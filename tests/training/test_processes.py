"""Runs in processes of their own: killed, stopped, divided."""

import csv
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from atrous.network.weights import read_tensors
from atrous.training import checkpoint
from atrous.training.checkpoint import checkpoints, newest_intact

CPU = ("--recipe", "cpu", "--crop", "33", "--set", "frozen=none", "--set", "precision=float32", "--threads", "1")


@pytest.fixture
def train(atrous_command, tiny_voc, class_list, vgg):
    """Start a run of 20 steps in a folder."""

    def start(out, *options, steps=20, save_every=4, data=tiny_voc, **kwargs):
        return atrous_command(
            *("train", data, "--list", "train", "--classes", class_list, "--weights", vgg, "--out", out),
            *(*CPU, "--iterations", steps, "--save-every", save_every, *options),
            **kwargs,
        )

    return start


def finish(process, status=0, timeout=400):
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == status, output
    return output


def wait_for(condition, process):
    for _ in range(6000):  # on a busy machine
        if condition():
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    pytest.fail("nothing happened for five minutes")


def losses(out):
    with (out / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def files(out, step=20):
    """What a run has learned, byte for byte."""
    return [(out / f"checkpoint-{step:06d}" / name).read_bytes() for name in (checkpoint.MODEL, checkpoint.OPTIMIZER)]


SGD = ("--set", "optimizer=sgd", "--set", "scales=[0.5,1.5]", "--workers", "2")


@pytest.mark.fault(
    "SIGKILL of a training run",
    "The same command resumes it; weights and losses are bitwise those of an uninterrupted run.",
    of=("train",),
)
@pytest.mark.parametrize("options", [SGD, pytest.param((), marks=pytest.mark.slow)], ids=["sgd", "cpu"])
def test_killed_and_resumed_is_the_same_to_the_bit(tmp_path, train, options):
    whole = train(tmp_path / "whole", *options)
    killed = train(tmp_path / "killed", *options)
    wait_for(lambda: (tmp_path / "killed/checkpoint-000008").is_dir(), killed)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    again = train(tmp_path / "killed", *options)
    assert "from step 0" in finish(whole)
    output = finish(again)
    assert any(f"from step {step}" in output for step in (8, 12, 16)), output
    assert files(tmp_path / "whole") == files(tmp_path / "killed")
    assert losses(tmp_path / "whole") == losses(tmp_path / "killed")


@pytest.mark.fault(
    "Ctrl-C or SIGTERM of a training run",
    "The current step finishes and is saved. The exit status is 130; the same command resumes.",
    of=("train",),
)
@pytest.mark.parametrize(
    ("send", "number"),
    # A terminal's Ctrl-C and torchrun's signal meet the run's process group, a scheduler's the process that it started.
    [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM), (os.killpg, signal.SIGTERM)],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM to the group"],
)
def test_interrupted_runs_save_where_they_are(tmp_path, train, send, number):
    process = train(tmp_path, steps=4000, save_every=4000)
    wait_for(lambda: (tmp_path / "log.csv").is_file() and len(losses(tmp_path)) > 3, process)
    send(process.pid, number)
    output = finish(process, status=130)
    assert "run the same command" in output
    assert "Traceback" not in output
    (saved,) = checkpoints(tmp_path)
    steps = int(saved.name.split("-")[1])
    assert 3 < steps < 4000
    assert len(losses(tmp_path)) == steps


def test_torchrun_that_is_told_to_stop_saves_too(tmp_path, train):
    process = train(
        *(tmp_path, "--batch", "4"), steps=4000, save_every=4000, torchrun=("--nproc-per-node=2", "--standalone")
    )
    wait_for(lambda: (tmp_path / "log.csv").is_file() and len(losses(tmp_path)) > 3, process)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=400)
    assert output.count("run the same command") == 1, output
    (saved,) = checkpoints(tmp_path)
    assert len(losses(tmp_path)) == int(saved.name.split("-")[1])


@pytest.mark.fault(
    "SIGKILL of a process that prefetches training data",
    "One line and exit status 2; the same command resumes.",
    of=("train",),
)
def test_a_killed_loader_is_one_line(tmp_path, train):
    process = train(tmp_path, steps=4000, save_every=4)
    wait_for(lambda: (tmp_path / "checkpoint-000004").is_dir(), process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.is_file():
        pytest.skip("needs Linux's list of a process' children")
    loader = int(children.read_text().split()[-1])
    os.kill(loader, signal.SIGKILL)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 2, output
    assert "data-loading worker died" in output
    assert "Traceback" not in output.split("data-loading worker died")[-1]
    assert newest_intact(tmp_path, pytest.fail) is not None


@pytest.mark.parametrize(("mount", "reason"), [("size=256k", "has 0.2 MiB free of "), ("ro", "cannot be written")])
def test_a_container_without_shared_memory(tmp_path, train, mount, reason):
    """The runs learn the same to the bit; a container's /dev/shm is of 64 MiB, as crops of 321 pixels ask for more."""
    private = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o {mount} tmpfs /dev/shm && exec "$@"', "sh")
    try:
        subprocess.run([*private, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs Linux and the right to mount")
    usual, confined = train(tmp_path / "usual", *SGD), train(tmp_path / "confined", *SGD, before=private)
    assert "loading data in" not in finish(usual)
    output = finish(confined)
    (line,) = (line for line in output.splitlines() if "loading data in" in line)
    assert reason in line
    assert "Traceback" not in output
    assert files(tmp_path / "confined") == files(tmp_path / "usual")


def test_two_processes_do_what_one_does(tmp_path, train):
    options = ("--batch", "4", "--set", "dropout=0", "--set", "optimizer=sgd", "--learning-rate", "1e-3")
    one = train(tmp_path / "one", *options)
    two = train(tmp_path / "two", *options, torchrun=("--nproc-per-node=2", "--standalone"))
    finish(one)
    output = finish(two)
    assert output.count("from step 0") == 1
    assert len(losses(tmp_path / "one")) == 20
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    first, second = (read_tensors(tmp_path / n / "checkpoint-000020" / checkpoint.MODEL) for n in ("one", "two"))
    assert all(torch.allclose(first[k], second[k], atol=1e-5) for k in first)


@pytest.mark.fault(
    "two training runs in one folder",
    "The second run ends with one line that names the first.",
    of=("train",),
)
def test_two_runs_do_not_write_into_one_folder(tmp_path, train):
    first = train(tmp_path, steps=4000, save_every=4)
    wait_for(lambda: (tmp_path / "checkpoint-000004").is_dir(), first)
    output = finish(train(tmp_path, steps=4000, save_every=4), status=2)
    assert f"another run is writing to it (process {first.pid} on " in output
    assert first.poll() is None
    os.kill(first.pid, signal.SIGTERM)
    finish(first, status=130)


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_and_is_seen(tmp_path, train, tiny_voc, class_list):
    root = tmp_path / "voc"
    shutil.copytree(tiny_voc, root)
    (root / "JPEGImages/photo3.jpg").write_bytes(b"no photo")
    process = train(
        *(tmp_path / "run", "--set", "balanced=false"), torchrun=("--nproc-per-node=2", "--standalone"), data=root
    )
    output, _ = process.communicate(timeout=400)
    assert process.returncode != 0
    assert "error: " in output
    assert "photo3.jpg: expected a JPEG" in output


@pytest.mark.fault(
    "SIGKILL of one of several training processes",
    "torchrun restarts all; the weights are bitwise those of an uninterrupted run.",
    of=("train",),
)
@pytest.mark.slow
def test_torchrun_restarts_what_was_killed(tmp_path, train):
    options = ("--batch", "4", "--set", "dropout=0")
    whole = train(tmp_path / "whole", *options, torchrun=("--nproc-per-node=2", "--standalone"))
    finish(whole)
    killed = train(
        *(tmp_path / "killed", *options),
        torchrun=("--nproc-per-node=2", "--standalone", "--max-restarts=1", "--monitor-interval=0.2"),
        DIE_ONCE=f"{tmp_path / 'died'}:11:1",
    )
    output = finish(killed)
    assert (tmp_path / "died").exists()
    assert "from step 8" in output
    assert files(tmp_path / "whole") == files(tmp_path / "killed")


@pytest.mark.fault(
    "50 SIGKILLs of a training run",
    "At most the steps since the last checkpoint are lost.",
    of=("train",),
)
@pytest.mark.slow
def test_fifty_kills_lose_no_more_than_the_steps_since_a_checkpoint(tmp_path, train):
    steps, every = 3000, 5
    whole = train(tmp_path / "whole", steps=steps, save_every=every)
    rng = random.Random(0)
    out, reached, kills = tmp_path / "killed", 0, 0
    while kills < 50:
        process = train(out, steps=steps, save_every=every)
        before = reached
        wait_for(lambda: (out / "log.csv").is_file() and _last_step(out) > before, process)  # noqa: B023
        time.sleep(rng.random() * 0.5)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
        done = _last_step(out)
        found = newest_intact(out, pytest.fail)
        saved = 0 if found is None else found[1].step
        assert saved >= reached
        # The checkpoint of the very step that was done last may not have been finished.
        assert done - saved < 2 * every if done % every == 0 else done - saved < every
        reached = saved
    finish(whole, timeout=900)
    finish(train(out, steps=steps, save_every=every), timeout=900)
    assert files(tmp_path / "whole", steps) == files(out, steps)


def _last_step(out):
    lines = (out / "log.csv").read_text().splitlines()
    numbers = [line.split(",")[0] for line in lines[1:]]
    return int(numbers[-1]) if numbers and numbers[-1].isdecimal() else 0

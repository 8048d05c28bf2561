import dataclasses
import errno
import json
import os
import shutil

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from torch import nn

from atrous.errors import InputError
from atrous.network.weights import read_tensors
from atrous.training import checkpoint
from atrous.training.checkpoint import TrainingState, checkpoints, newest_intact, save
from atrous.training.config import RECIPES

STATE = TrainingState(
    step=0,
    recipe=RECIPES["cpu"],
    classes=("background", "red"),
    palette=((0, 0, 0), (255, 0, 0)),
    training_list="train",
    training_list_sha256="0" * 64,
    start="nowhere",
    versions={"torch": "2"},
)
NAMES = ("one", "two")


@pytest.fixture
def net():
    return nn.Linear(3, 2)


@pytest.fixture
def optimizer(net):
    groups = [{"params": [p], "name": name} for name, p in net.named_parameters()]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return optimizer


def write(folder, net, optimizer, *steps):
    return [save(folder, net, optimizer, dataclasses.replace(STATE, step=step), NAMES) for step in steps]


def test_state_and_optimizer_survive(tmp_path, net, optimizer):
    (path,) = write(tmp_path, net, optimizer, 7)
    found = newest_intact(tmp_path, pytest.fail)
    assert found is not None
    assert found[0] == path
    assert dataclasses.replace(found[1], sha256={}) == dataclasses.replace(STATE, step=7)
    before = {k: v.clone() for k, v in optimizer.state[net.weight].items()}
    optimizer.state.clear()
    checkpoint.load_optimizer(path, optimizer, torch.device("cpu"))
    after = optimizer.state[net.weight]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_only_the_newest_three_are_kept(tmp_path, net, optimizer):
    write(tmp_path, net, optimizer, 2, 4, 8, 999999, 1000000)
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-000008", "checkpoint-999999", "checkpoint-1000000"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.fault(
    "a checkpoint with truncated, changed or missing files",
    "The previous checkpoint is loaded, with a warning.",
    of=("train",),
)
@pytest.mark.parametrize("file", [checkpoint.MODEL, checkpoint.OPTIMIZER, checkpoint.STATE, checkpoint.TRAINING_LIST])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_newest_one_is_passed_over(tmp_path, net, optimizer, file, damage):
    older, newest = write(tmp_path, net, optimizer, 1, 2)
    content = (newest / file).read_bytes()
    if damage == "gone":
        (newest / file).unlink()
    elif damage == "cut":
        (newest / file).write_bytes(content[: len(content) // 2])
    else:
        half = len(content) // 2
        (newest / file).write_bytes(content[:half] + bytes([content[half] ^ 128]) + content[half + 1 :])
    warnings = []
    found = newest_intact(tmp_path, warnings.append)
    assert found is not None
    assert found[0] == older
    if file == checkpoint.STATE and damage == "gone":
        assert warnings == []  # a folder without a state is no checkpoint
    else:
        assert len(warnings) == 1
        assert warnings[0].startswith("checkpoint-000002 is skipped: ")


def test_all_damaged_is_an_error(tmp_path, net, optimizer):
    for path in write(tmp_path, net, optimizer, 1, 2):
        (path / checkpoint.MODEL).write_bytes(b"")
    with pytest.raises(InputError, match="all 2 are damaged"):
        newest_intact(tmp_path, lambda line: None)


def test_a_full_disk_leaves_the_earlier_ones(tmp_path, net, optimizer, monkeypatch):
    (earlier,) = write(tmp_path, net, optimizer, 1)
    before = read_tensors(earlier / checkpoint.MODEL)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"checkpoint-000002: cannot be written \(No space left on device\); checkpoi"):
        write(tmp_path, net, optimizer, 2)
    assert checkpoints(tmp_path) == [earlier]
    assert not list(tmp_path.glob(".*"))
    assert torch.equal(read_tensors(earlier / checkpoint.MODEL)["weight"], before["weight"])


def test_what_a_killed_writer_left_is_cleared_away(tmp_path, net, optimizer):
    # Of another machine: it may be the one that was killed.
    for name in (".atrous-00000000-0123456789ab.tmp", ".atrous-00000000-ba9876543210.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    write(tmp_path, net, optimizer, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-000001"]


def test_a_copy_that_somebody_made_is_no_checkpoint_of_the_run(tmp_path, net, optimizer):
    (first,) = write(tmp_path, net, optimizer, 1)
    copies = [tmp_path / "checkpoint-000001-best", tmp_path / "checkpoint-000001.bak"]
    for copy in copies:
        shutil.copytree(first, copy)
    write(tmp_path, net, optimizer, 2, 3, 4, 5)
    assert [p.name for p in checkpoints(tmp_path)] == [f"checkpoint-00000{step}" for step in (3, 4, 5)]
    assert all(copy.is_dir() for copy in copies)


def test_names_that_are_no_text_are_kept(tmp_path, net, optimizer):
    name = os.fsdecode(b"caf\xe9")
    path = save(tmp_path, net, optimizer, STATE, ("one", name))
    assert (path / checkpoint.TRAINING_LIST).read_bytes() == b"one\ncaf\xe9\n"
    found = newest_intact(tmp_path, pytest.fail)
    assert found is not None


def test_one_that_the_disk_does_not_give_back_is_passed_over(tmp_path, net, optimizer, monkeypatch):
    older, newest = write(tmp_path, net, optimizer, 1, 2)
    real = checkpoint._sha256

    def bad_sector(path):
        if path.parent == newest:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path)

    monkeypatch.setattr(checkpoint, "_sha256", bad_sector)
    warnings = []
    found = newest_intact(tmp_path, warnings.append)
    assert found is not None
    assert found[0] == older
    assert len(warnings) == 1
    assert "Input/output error" in warnings[0]


def test_weights_that_are_no_numbers_are_not_saved(tmp_path, net, optimizer):
    (earlier,) = write(tmp_path, net, optimizer, 1)
    with torch.no_grad():
        net.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"NaN.*step 2.*learning rate"):
        write(tmp_path, net, optimizer, 2)
    assert checkpoints(tmp_path) == [earlier]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"step": "7"}, "step"),
        ({"step": -1}, "step"),
        ({"sha256": ["model.safetensors"]}, "sha256"),
        ({"sha256": {"../model.safetensors": "0"}}, "sha256"),
        ({"sha256": {"/dev/zero": "0"}}, "sha256"),
        ({"start": None}, "start"),
        ({"palette": [[0, 0, 0]]}, "palette"),
        ({"palette": [[0, 0, 0], [0, 0, 300]]}, "palette"),
        ({"palette": [[0, 0, 0], ["1", "2", "3"]]}, "palette"),
        ({"recipe": []}, "recipe"),
        ({"recipe": {"variant": "deeplab", "iterations": 1e400}}, "iterations"),
        ({"classes": ["a"] * 300}, "classes"),
        ({"more": 1}, "more"),
    ],
)
def test_a_state_that_cannot_be_right_is_passed_over_in_one_line(tmp_path, net, optimizer, change, match):
    path = save(tmp_path, net, optimizer, STATE, NAMES)
    file = path / "state.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    lines = []
    with pytest.raises(InputError, match="damaged"):
        newest_intact(tmp_path, lines.append)
    (line,) = lines
    assert match in line
    assert "\n" not in line

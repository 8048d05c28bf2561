import csv
import dataclasses
import importlib
import io
import json
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from rich.console import Console
from safetensors.torch import save_file

from atrous.data.dataset import open_dataset
from atrous.errors import InputError, RunError
from atrous.network.weights import read_tensors
from atrous.training import checkpoint
from atrous.training.config import RECIPES, RunOptions
from atrous.training.dataloader import CropsByPosition
from atrous.training.distributed import Processes
from atrous.training.train import train

loop = importlib.import_module("atrous.training.train")
RECIPE = RECIPES["cpu"].changed(
    {"crop": 33, "batch": 2, "iterations": 4, "frozen": "conv4", "learning_rate": 2e-4, "precision": "float32"}
)
RUN = RunOptions(workers=0, save_every=2, threads=1)


def begin(out, dataset, start, recipe=RECIPE, run=RUN, samples=None, console=None):
    samples = dataset.read("train") if samples is None else samples
    return train(out, samples, recipe, dataset, start=start, options=run, console=console)


def losses(out):
    with (out / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def same_tensors(one, two):
    a, b = read_tensors(one), read_tensors(two)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_crops_are_a_function_of_the_position(dataset):
    samples = dataset.read("train")
    recipe = dataclasses.replace(RECIPE, scales=(0.5, 1.5))
    one, two = (CropsByPosition(samples, recipe)[5] for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert one[0].shape == (3, 33, 33)
    assert one[1].shape == (5, 5)


@pytest.mark.parametrize("recipe", [RECIPE, dataclasses.replace(RECIPE, optimizer="sgd", scales=(0.5, 2.0))])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(tmp_path, dataset, vgg, monkeypatch, recipe):
    whole = begin(tmp_path / "whole", dataset, vgg, recipe)
    real, calls = checkpoint.save, []

    def save_then_die(*args, **kwargs):
        calls.append(real(*args, **kwargs))
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path / "halves", dataset, vgg, recipe)
    assert calls[0].name == "checkpoint-000002"
    monkeypatch.setattr(checkpoint, "save", real)
    resumed = begin(tmp_path / "halves", dataset, vgg, recipe)

    assert resumed.name == whole.name == "checkpoint-000004"
    assert same_tensors(whole / checkpoint.MODEL, resumed / checkpoint.MODEL)
    assert same_tensors(whole / checkpoint.OPTIMIZER, resumed / checkpoint.OPTIMIZER)
    assert losses(tmp_path / "whole") == losses(tmp_path / "halves")
    assert len(losses(tmp_path / "whole")) == 4


def test_frozen_layers_stay_and_the_others_move(tmp_path, dataset, vgg):
    trained = read_tensors(begin(tmp_path / "run", dataset, vgg) / checkpoint.MODEL)
    first = read_tensors(vgg)
    assert torch.equal(trained["conv4_3.weight"], first["conv4_3.weight"].float())
    assert not torch.equal(trained["conv5_1.weight"], first["conv5_1.weight"].float())


def test_the_branches_train_on_a_frozen_network(tmp_path, dataset, vgg):
    plain = begin(tmp_path / "plain", dataset, vgg)
    recipe = RECIPES["msc"].changed({"crop": 33, "batch": 2, "iterations": 2, "learning_rate": 0.1})
    both = begin(tmp_path / "both", dataset, plain, recipe)
    before, after = read_tensors(plain / checkpoint.MODEL), read_tensors(both / checkpoint.MODEL)
    assert all(torch.equal(before[name], after[name]) for name in before)
    optimizer = read_tensors(both / checkpoint.OPTIMIZER)
    assert {name.split(".")[0] for name in optimizer} == {"branches"}
    assert any(momentum.abs().max() > 0 for momentum in optimizer.values())


def test_parts_of_a_step_add_up_to_the_step(tmp_path, dataset, vgg):
    recipe = dataclasses.replace(RECIPE, batch=4, dropout=0.0, class_weights="median-frequency")
    begin(tmp_path / "one", dataset, vgg, recipe)
    begin(tmp_path / "four", dataset, vgg, dataclasses.replace(recipe, accumulate=4))
    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "four"), abs=2e-5)


def test_half_precision_keeps_weights_in_single(tmp_path, dataset, vgg):
    recipe = dataclasses.replace(RECIPE, dropout=0.0)
    single = begin(tmp_path / "single", dataset, vgg, recipe)
    half = begin(tmp_path / "half", dataset, vgg, dataclasses.replace(recipe, precision="bf16"))
    assert not same_tensors(single / checkpoint.MODEL, half / checkpoint.MODEL)
    assert losses(tmp_path / "single") == pytest.approx(losses(tmp_path / "half"), rel=0.05)
    assert {t.dtype for t in read_tensors(half / checkpoint.MODEL).values()} == {torch.float32}


def test_another_recipe_list_or_class_list_is_refused_in_the_same_folder(tmp_path, dataset, vgg, tiny_voc):
    short = dataclasses.replace(RECIPE, iterations=2)
    out = tmp_path / "run"
    begin(out, dataset, vgg, short)
    with pytest.raises(InputError, match="seed"):
        begin(out, dataset, vgg, dataclasses.replace(short, seed=1))
    with pytest.raises(InputError, match="iterations.*weights .*checkpoint-000002"):
        begin(out, dataset, vgg, dataclasses.replace(short, iterations=4))
    rest, _ = dataset.read("train").hold_out(2)
    with pytest.raises(InputError, match="the 6 images .* got 4 .*hold_out"):
        begin(out, dataset, vgg, short, samples=rest)
    with pytest.raises(InputError, match="classes"):
        begin(out, open_dataset(tiny_voc), vgg, short)
    with pytest.raises(InputError, match="void"):
        begin(out, dataclasses.replace(dataset, void=(7,)), vgg, short)


@pytest.fixture
def finished(tmp_path, dataset, vgg):
    """Folder of a run of one step, from `vgg`."""
    begin(tmp_path / "run", dataset, vgg, dataclasses.replace(RECIPE, iterations=1))
    return tmp_path / "run"


def rerun(out, dataset, start):
    """Start a finished run again; return what it printed."""
    console = Console(file=io.StringIO(), width=500)
    begin(out, dataset, start, dataclasses.replace(RECIPE, iterations=1), console=console)
    return console.file.getvalue()


def test_other_initial_weights_are_refused_in_the_same_folder(tmp_path, dataset, vgg, finished):
    moved = tmp_path / "elsewhere.safetensors"
    shutil.copy(vgg, moved)
    other = tmp_path / "other" / vgg.name
    other.parent.mkdir()
    save_file({name: tensor + 1 for name, tensor in read_tensors(vgg).items()}, other)
    for same in (vgg, moved, None):
        assert "warning" not in rerun(finished, dataset, same)
    for weights in (other, finished / "checkpoint-000001"):
        with pytest.raises(InputError, match=r"initial weights .*vgg\.safetensors.* without initial weights"):
            rerun(finished, dataset, weights)
    vgg.unlink()  # the name is compared
    assert "complete" in rerun(finished, dataset, vgg)
    with pytest.raises(InputError, match="initial weights"):
        rerun(finished, dataset, tmp_path / "gone.safetensors")


def test_a_finished_run_is_reported_as_complete(dataset, vgg, finished):
    assert "complete: all 1 steps" in rerun(finished, dataset, vgg)


def test_another_data_set_with_the_same_names_is_noticed(tmp_path, dataset, class_list, vgg, finished):
    moved = tmp_path / "moved"
    shutil.copytree(dataset.root, moved)
    assert "warning" not in rerun(finished, open_dataset(moved, classes=class_list), vgg)
    labels = sorted((moved / "SegmentationClassAug").glob("*.png"))[0]
    labels.write_bytes(labels.read_bytes() + b"\0")
    (line,) = (
        line
        for line in rerun(finished, open_dataset(moved, classes=class_list), vgg).splitlines()
        if line.startswith("warning")
    )
    assert str(moved) in line
    assert str(finished) in line


def test_checkpoints_without_the_hashes_are_resumed(tmp_path, dataset, vgg, finished):
    state = finished / "checkpoint-000001" / checkpoint.STATE
    values = json.loads(state.read_text())
    assert len(values["start_sha256"]) == len(values["files_sha256"]) == 64
    del values["start_sha256"], values["files_sha256"]
    state.write_text(json.dumps(values))
    assert "warning" not in rerun(finished, dataset, vgg)
    with pytest.raises(InputError, match="initial weights"):
        rerun(finished, dataset, shutil.copy(vgg, tmp_path / "elsewhere.safetensors"))


def test_a_run_needs_a_start(tmp_path, dataset, narrow_network):
    with pytest.raises(InputError, match="initial weights"):
        begin(tmp_path / "run", dataset, None)


def test_machines_that_do_not_share_the_runs_folder_are_told(tmp_path, dataset, vgg, monkeypatch):
    begin(tmp_path / "run", dataset, vgg, dataclasses.replace(RECIPE, iterations=2))
    real = loop.processes

    @contextmanager
    def with_another_that_begins_anew(device):
        with real(device) as group:
            monkeypatch.setattr(Processes, "sums", lambda self, *values: list(values))
            yield dataclasses.replace(group, count=2)

    monkeypatch.setattr(loop, "processes", with_another_that_begins_anew)
    monkeypatch.setattr(Processes, "wrap", lambda self, net: net)
    with pytest.raises(InputError, match="process 0 .*step 2"):
        begin(tmp_path / "run", dataset, None, dataclasses.replace(RECIPE, iterations=2))


def test_a_rate_that_diverges_is_one_line(tmp_path, dataset, vgg):
    recipe = dataclasses.replace(RECIPE, optimizer="sgd", learning_rate=1e30, clip_norm=None)
    with pytest.raises(RunError, match="got nan"):
        begin(tmp_path / "run", dataset, vgg, recipe)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_photo_is_one_line_from_a_worker_too(tmp_path, tiny_voc, class_list, vgg, workers):
    root = tmp_path / "voc"
    shutil.copytree(tiny_voc, root)
    for photo in (root / "JPEGImages").iterdir():
        photo.write_bytes(photo.read_bytes()[:300])
    recipe = dataclasses.replace(RECIPE, balanced=False)
    with pytest.raises(InputError) as caught:
        begin(tmp_path / "run", open_dataset(root, classes=class_list), vgg, recipe, RunOptions(workers=workers))
    assert re.fullmatch(r".*photo\d\.jpg: .*damaged or cut short.*", str(caught.value))


def test_another_number_of_classes_keeps_all_but_fc8(tmp_path, dataset, tiny_voc, vgg):
    first = begin(tmp_path / "three", dataset, vgg, dataclasses.replace(RECIPE, iterations=2))
    lines = []
    console = Console(quiet=True)
    console.print = lambda line, **_: lines.append(str(line))
    recipe = dataclasses.replace(RECIPE, iterations=1)
    begin(tmp_path / "more", open_dataset(tiny_voc), first, recipe, console=console)
    assert any("drawn at random: fc8" in line for line in lines)
    state = json.loads((tmp_path / "more/checkpoint-000001/state.json").read_text())
    assert len(state["classes"]) == 21
    assert state["start"].startswith("checkpoint-000002, ")


def test_scores_on_the_way_are_written_down(tmp_path, dataset, vgg):
    run = dataclasses.replace(RUN, validation=dataset.read("train"), evaluate_every=3)
    begin(tmp_path / "run", dataset, vgg, run=run)
    with (tmp_path / "run/evaluations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3", "4"]
    assert all(0 <= float(row["mean_iou"]) <= 1 for row in rows)
    # Scoring leaves the training as it is.
    begin(tmp_path / "unscored", dataset, vgg)
    assert losses(tmp_path / "run") == losses(tmp_path / "unscored")


def test_a_checkpoint_says_how_it_came_about(tmp_path, dataset, vgg):
    newest = begin(tmp_path / "run", dataset, vgg)
    state = json.loads((newest / "state.json").read_text())
    assert state["recipe"] == json.loads(json.dumps(RECIPE.as_dict()))
    assert (state["training_list"], state["training_list_sha256"]) == ("train", dataset.read("train").sha256)
    assert {"atrous", "python", "torch"} <= state["versions"].keys()
    assert (newest / "training-list.txt").read_text().split() == [f"photo{i}" for i in range(6)]
    assert sorted(state["sha256"]) == ["model.safetensors", "optimizer.safetensors", "training-list.txt"]


def test_the_crf_loss_adds_to_the_loss_in_any_number_of_parts(tmp_path, dataset, vgg):
    recipe = dataclasses.replace(RECIPE, iterations=1, dropout=0.0)
    begin(tmp_path / "plain", dataset, vgg, recipe)
    begin(tmp_path / "crf", dataset, vgg, dataclasses.replace(recipe, crf_loss=0.5))
    begin(tmp_path / "parts", dataset, vgg, dataclasses.replace(recipe, crf_loss=0.5, accumulate=recipe.batch))
    (plain,), (crf,), (parts,) = (losses(tmp_path / name) for name in ("plain", "crf", "parts"))
    assert plain + 0.01 < crf < plain + 0.5
    assert parts == pytest.approx(crf, abs=2e-5)


def test_soft_targets_change_the_training_and_resume_with_it(tmp_path, dataset, vgg):
    samples = dataset.read("train")
    scores = tmp_path / "scores"
    scores.mkdir()
    for n, sample in enumerate(samples.samples):
        np.save(scores / f"{sample.name}.npy", np.random.default_rng(n).normal(0, 3, (3, 5, 7)).astype(np.float16))
    recipe = dataclasses.replace(RECIPE, soft_weight=0.5)
    train(tmp_path / "masks", samples, RECIPE, dataset, start=vgg)
    whole = train(tmp_path / "whole", samples, recipe, dataset, start=vgg, soft_targets=scores)
    assert not same_tensors(whole / "model.safetensors", tmp_path / "masks" / whole.name / "model.safetensors")
    with pytest.raises(InputError, match="soft_weight"):
        train(tmp_path / "masks", samples, recipe, dataset, soft_targets=scores)
    for wrong, folder in ((recipe, None), (RECIPE, scores)):
        with pytest.raises(InputError, match="soft_weight"):
            train(tmp_path / "other", samples, wrong, dataset, start=vgg, soft_targets=folder)


def test_images_without_label_maps_train_on_soft_targets_alone(tmp_path, tiny_voc, class_list, vgg):
    root = tmp_path / "voc"
    shutil.copytree(tiny_voc, root)
    for path in (root / "SegmentationClassAug").glob("*.png"):
        path.unlink()
    dataset = open_dataset(root, classes=class_list)
    samples = dataset.read("train", unlabeled=True)
    (tmp_path / "scores").mkdir()
    for sample in samples.samples:
        np.savez(tmp_path / "scores" / f"{sample.name}.npz", np.eye(3, dtype=np.float32)[1].reshape(3, 1, 1))
    recipe = dataclasses.replace(RECIPE, soft_weight=1.0, balanced=True)
    last = train(tmp_path / "run", samples, recipe, dataset, start=vgg, soft_targets=tmp_path / "scores")
    with (tmp_path / "run" / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[0] == pytest.approx(np.log(3), abs=0.2)  # three classes, nothing learned
    assert last.name == f"checkpoint-{recipe.iterations:06d}"

import csv
import dataclasses
import re
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from safetensors.torch import save_file

from atrous.data.voc import read_list
from atrous.errors import InputError
from atrous.network.deeplab import DeepLab
from atrous.network.weights import read_tensors
from atrous.training import checkpoint
from atrous.training.batches import CropsByPosition
from atrous.training.loop import segmentation_loss, train
from atrous.training.recipe import RECIPES

CLASSES = ("background", "red", "blue")
RECIPE = dataclasses.replace(RECIPES["cpu"], crop=33, batch=2, iterations=4, frozen="conv4", learning_rate=2e-4)


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """Convolutions at random, in the file format of the ImageNet ones."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, parameter in DeepLab().named_parameters():
        if name.startswith("conv"):
            fan_in = parameter[0].numel()
            std = (2 / fan_in) ** 0.5 if name.endswith("weight") else 0.0
            tensors[name] = (torch.randn(parameter.shape, generator=generator) * std).half()
    path = tmp_path_factory.mktemp("vgg") / "vgg.safetensors"
    save_file(tensors, path)
    return path


def run(out, voc, vgg, recipe=RECIPE, **kwargs):
    samples = read_list(voc, "train")
    return train(out, samples, recipe, CLASSES, vgg=vgg, workers=0, save_every=2, **kwargs)


def test_loss_is_the_mean_over_labelled_cells():
    scores = torch.tensor([[[[2.0, 0.0, 5.0]], [[0.0, 1.0, 5.0]]]])  # two classes, three cells
    labels = torch.tensor([[[0, 1, 255]]])
    by_hand = np.mean([np.log1p(np.exp(-2.0)), np.log1p(np.exp(-1.0))])
    assert segmentation_loss(scores, labels).item() == pytest.approx(by_hand)
    assert segmentation_loss(scores, torch.full((1, 1, 3), 255)).item() == 0


def test_crops_are_a_function_of_the_position(tiny_voc):
    samples = read_list(tiny_voc, "train")
    one, two = (CropsByPosition(samples, RECIPE)[5] for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert one[0].shape == (3, 33, 33)
    assert one[1].shape == (5, 5)


def test_an_interrupted_run_ends_like_an_uninterrupted_one(tmp_path, tiny_voc, vgg, monkeypatch):
    whole = run(tmp_path / "whole", tiny_voc, vgg)
    real, calls = checkpoint.save, []

    def save_then_die(*args, **kwargs):
        calls.append(real(*args, **kwargs))
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halves", tiny_voc, vgg)
    assert calls[0].name == "checkpoint-000002"
    monkeypatch.setattr(checkpoint, "save", real)
    resumed = run(tmp_path / "halves", tiny_voc, vgg)

    assert resumed.name == whole.name == "checkpoint-000004"
    for file in (checkpoint.MODEL, checkpoint.OPTIMIZER):
        a, b = read_tensors(whole / file), read_tensors(resumed / file)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
    logs = [list(csv.DictReader((tmp_path / r / "log.csv").open())) for r in ("whole", "halves")]
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]
    assert [row["step"] for row in logs[1]] == ["1", "2", "3", "4"]


def test_frozen_layers_stay_and_the_others_move(tmp_path, tiny_voc, vgg):
    trained = read_tensors(run(tmp_path, tiny_voc, vgg) / checkpoint.MODEL)
    start = read_tensors(vgg)
    assert torch.equal(trained["conv4_3.weight"], start["conv4_3.weight"].float())
    assert not torch.equal(trained["conv5_1.weight"], start["conv5_1.weight"].float())


def test_another_recipe_or_list_is_refused_in_the_same_folder(tmp_path, tiny_voc, vgg):
    run(tmp_path, tiny_voc, vgg, dataclasses.replace(RECIPE, iterations=2))
    with pytest.raises(InputError, match="begun with seed=0, not 1"):
        run(tmp_path, tiny_voc, vgg, dataclasses.replace(RECIPE, iterations=2, seed=1))
    samples, _ = read_list(tiny_voc, "train").hold_out(2)
    with pytest.raises(InputError, match="begun on other images"):
        train(tmp_path, samples, dataclasses.replace(RECIPE, iterations=2), CLASSES, vgg=vgg, workers=0)


def test_a_run_needs_a_start(tmp_path, tiny_voc):
    with pytest.raises(InputError, match="--vgg"):
        train(tmp_path, read_list(tiny_voc, "train"), RECIPE, CLASSES, workers=0)


def test_only_the_newest_checkpoints_are_kept(tmp_path, tiny_voc, vgg):
    run(tmp_path, tiny_voc, vgg, dataclasses.replace(RECIPE, iterations=8))
    assert [p.name[-1] for p in checkpoint.checkpoints(tmp_path)] == ["4", "6", "8"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_photo_is_one_line_from_a_worker_too(tmp_path, tiny_voc, vgg, workers):
    root = tmp_path / "voc"
    shutil.copytree(tiny_voc, root)
    for photo in (root / "JPEGImages").iterdir():
        photo.write_bytes(photo.read_bytes()[:300])
    samples = read_list(root, "train")
    with pytest.raises(InputError) as caught:
        train(tmp_path / "run", samples, RECIPE, CLASSES, vgg=vgg, workers=workers)
    assert re.fullmatch(r".*photo\d\.jpg: .*damaged or cut short.*", str(caught.value))


def test_weights_of_another_network_are_refused(tmp_path, tiny_voc, vgg):
    start = run(tmp_path / "three", tiny_voc, vgg, dataclasses.replace(RECIPE, iterations=2))
    samples = read_list(tiny_voc, "train")
    with pytest.raises(InputError, match=r"model\.safetensors: is not of deeplab-largefov with 4 classes"):
        train(tmp_path / "four", samples, RECIPE, (*CLASSES, "green"), weights=start, workers=0)

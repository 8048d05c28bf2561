import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from safetensors.torch import save_file

import atrous
from atrous.cli import app
from atrous.errors import InputError
from atrous.network.deeplab import DeepLab

runner = CliRunner()


@pytest.fixture
def vgg(narrow, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "vgg.safetensors"
    save_file({n: p.detach() for n, p in DeepLab().named_parameters() if n.startswith("conv")}, path)
    return path


def invoke(*arguments):
    return runner.invoke(app, [str(a) for a in arguments], catch_exceptions=False)


def test_train_evaluate_tune_and_export(tiny_voc, vgg, tmp_path):
    run = tmp_path / "run"
    small = ["--recipe", "cpu", "--crop", 33, "--batch", 1, "--iterations", 1, "--workers", 0]
    trained = invoke("train", tiny_voc, "--out", run, "--list", "train", "--weights", vgg, "--hold-out", 2, *small)
    assert trained.exit_code == 0, trained.output
    assert "4 images of train, from step 0" in trained.output
    checkpoint = run / "checkpoint-000001"
    assert trained.output.strip().endswith("checkpoint-000001")
    assert json.loads((checkpoint / "state.json").read_text())["recipe"]["crop"] == 33

    scored = invoke("evaluate", tiny_voc, "--model", checkpoint, "--list", "train", "--limit", 2)
    assert scored.exit_code == 0, scored.output
    assert "with CRF" in scored.output
    assert "over 2 of the 6 images of train" in scored.output

    best = tmp_path / "crf.json"
    options = ["--model", checkpoint, "--list", "train", "--hold-out", 2, "--out", best]
    tuned = invoke("tune", tiny_voc, *options, "--weight", "2", "--sxy", "9,30", "--srgb", "5")
    assert tuned.exit_code == 0, tuned.output
    assert json.loads(best.read_text())["sxy"] in (9, 30)
    assert "warning" not in tuned.stderr
    options = ["--model", checkpoint, "--list", "train", "--hold-out", 0, "--limit", 3, "--out", tmp_path / "seen.json"]
    seen = invoke("tune", tiny_voc, *options, "--weight", "2", "--sxy", "9", "--srgb", "5", "--finer", 0)
    assert "warning: 2 of train-held-out-3's 3 images were used in training" in seen.stderr

    model = tmp_path / "model.onnx"
    exported = invoke("export", checkpoint, model, "--crf", best)
    assert exported.exit_code == 0, exported.output
    segmenter = atrous.Segmenter(model)
    assert segmenter.crf.sxy in (9, 30)
    assert segmenter(tiny_voc / "JPEGImages/photo0.jpg").labels.shape == (40, 50)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "fast"], "recipe: expected one of paper, poly, msc, cpu"),
        (["--set", "crops=3"], "recipe key: .*got 'crops'"),
        (["--set", "crop"], "--set crop: expected key=value"),
        (["--crop", "320"], "--crop 320: expected 8 k - 7"),
        (["--variant", "vgg"], "--variant 'vgg': expected one of"),
        (["--list", "test"], r"list test: .*train.*test\.txt"),
        (["--list", "train", "--hold-out", "6"], "--hold-out 6: expected 0 to 5"),
        (["--list", "train"], "initial weights"),
        (["--list", "train", "--weights", "none.pth"], "none.pth: no such file"),
        (["--list", "train", "--device", "tpu"], "--device 'tpu': expected cpu or cuda"),
        (["--list", "train", "--batch", "7", "--set", "accumulate=2"], "accumulate=2: expected a divisor of batch=7"),
        (["--list", "train", "--evaluate-every", "5"], r"list val: .*train.*val\.txt"),
        (["--classes", "none.txt"], "none.txt: "),
        (["--list", "train", "--evaluate-images", "5"], "--evaluate-images 5: .*--evaluate-every"),
    ],
)
def test_mistakes_are_one_line(tiny_voc, tmp_path, options, message):
    with pytest.raises(InputError, match=message) as caught:
        invoke("train", tiny_voc, "--out", tmp_path / "run", *options)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_another_number_of_held_out_images_is_named(tiny_voc, vgg, tmp_path):
    small = ["--recipe", "cpu", "--crop", 33, "--batch", 1, "--iterations", 1, "--workers", 0]
    command = ["train", tiny_voc, "--out", tmp_path / "run", "--list", "train", "--weights", vgg, *small]
    assert invoke(*command, "--hold-out", 2).exit_code == 0
    with pytest.raises(InputError, match=r"the 4 images of its run .* got 5 .*pass --hold-out N"):
        invoke(*command, "--hold-out", 1)


def test_training_on_what_is_scored_is_refused(tiny_voc, tmp_path):
    root = tmp_path / "voc"
    shutil.copytree(tiny_voc, root)
    (root / "ImageSets/Segmentation/val.txt").write_text("photo3\nphoto5\n")
    with pytest.raises(InputError, match=r"list train: .*list val.*photo3"):
        invoke("train", root, "--out", tmp_path / "run")
    with pytest.raises(InputError, match="initial weights"):
        invoke("train", root, "--out", tmp_path / "run", "--allow-overlap")
    (root / "ImageSets/Segmentation/train.txt").write_text("photo0\nphoto1\n")
    with pytest.raises(InputError, match="initial weights"):
        invoke("train", root, "--out", tmp_path / "run")


@pytest.fixture
def own(tmp_path):
    """One photo of one's own."""
    root = tmp_path / "own"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("background\nred\n")
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(root / "images/one.jpg")
    labels = np.zeros((40, 50), np.uint8)
    labels[9:, 20:] = 1
    Image.fromarray(labels).save(root / "labels/one.png")
    return root


def test_one_photo_can_be_trained_on(own, vgg, tmp_path):
    small = ["--recipe", "cpu", "--crop", 33, "--batch", 2, "--iterations", 1, "--workers", 0]
    trained = invoke("train", own, "--out", tmp_path / "run", "--list", "all", "--weights", vgg, *small)
    assert trained.exit_code == 0, trained.output
    assert "1 images of all, from step 0" in trained.output


def test_an_evaluation_list_that_cannot_be_read_stops_only_who_wants_scores(tiny_voc, vgg, tmp_path):
    root = tmp_path / "voc"
    shutil.copytree(tiny_voc, root)
    (root / "ImageSets/Segmentation/val.txt").write_text("photo9\n")
    small = ["--recipe", "cpu", "--crop", 33, "--batch", 1, "--iterations", 1, "--workers", 0, "--list", "train"]
    command = ["train", root, "--out", tmp_path / "run", "--weights", vgg, *small]
    with pytest.raises(InputError, match=r"val\.txt: .*'photo9'"):
        invoke(*command, "--evaluate-every", 1)
    trained = invoke(*command)
    assert trained.exit_code == 0, trained.output
    assert "warning: list train was not checked for images of val: " in trained.stderr
    assert "'photo9'" in trained.stderr


def test_the_crf_is_trained_with_the_network_and_exported(tiny_voc, vgg, tmp_path):
    small = ["--crop", 33, "--batch", 1, "--iterations", 1, "--workers", 0, "--list", "train", "--weights", vgg]
    run = invoke("train", tiny_voc, "--out", tmp_path / "joint", "--recipe", "cpu", "--crf-layer", *small)
    assert run.exit_code == 0, run.output
    state = json.loads((tmp_path / "joint" / "checkpoint-000001" / "state.json").read_text())
    assert state["recipe"]["crf_steps"] == 5
    model = tmp_path / "joint.onnx"
    assert invoke("export", tmp_path / "joint" / "checkpoint-000001", model).exit_code == 0
    assert atrous.Segmenter(model).crf.weight == state["crf"]["weight"]
    run = invoke("train", tiny_voc, "--out", tmp_path / "alone", "--recipe", "end-to-end", "--no-crf-layer", *small)
    assert run.exit_code == 0, run.output
    assert "crf" not in json.loads((tmp_path / "alone" / "checkpoint-000001" / "state.json").read_text())

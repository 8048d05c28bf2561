import importlib.util
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from atrous.cli import app
from atrous.cli.tune import _numbers
from atrous.crf.tune.scorer import TrialScorer
from atrous.data.metadata import CrfParameters
from atrous.errors import InputError

runner = CliRunner()
SMALL = ["--weight", "2,4", "--sxy", "10:10:20", "--srgb", "8", "--finer", "1", "--iterations", "3"]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(7)
    root = tmp_path / "data"
    for name in ("images", "scores", "masks"):
        (root / name).mkdir(parents=True)
    for name in ("a", "b"):
        mask = np.zeros((16, 24), np.uint8)
        mask[5:, 9:] = 1
        right = np.clip(rng.normal(np.where(mask, 0.6, 0.4), 0.15), 0.05, 0.95)
        image = (rng.normal(np.where(mask, 170, 60)[..., None], 6, (16, 24, 3))).astype(np.uint8)
        Image.fromarray(image).save(root / f"images/{name}.png")
        Image.fromarray(mask).save(root / f"masks/{name}.png")
        np.save(root / f"scores/{name}.npy", np.stack([1 - right, right]).astype(np.float16))
    return root


def tune(*arguments, ok=True):
    done = runner.invoke(app, ["tune", *map(str, arguments)], catch_exceptions=False)
    if ok:
        assert done.exit_code == 0, done.output
    return done


def test_a_folder_of_scores_gives_parameters_table_and_picture(folder, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra 'plot'")
    out = tmp_path / "crf.json"
    done = tune(folder, "--out", out, *SMALL)
    best = CrfParameters(**json.loads(out.read_text()))
    assert best.srgb == 8
    assert best.iterations == 3
    lines = (tmp_path / "crf.csv").read_text().splitlines()
    described = json.loads(lines[0].removeprefix("# "))
    assert (described["images"], described["iterations"]) == (2, 3)
    rows = [tuple(map(float, line.split(","))) for line in lines[2:]]
    assert {row[:3] for row in rows} >= {(w, xy, 8) for w in (2, 4) for xy in (10, 20)}
    top = max(rows, key=lambda row: row[3])
    assert top[3] == max(row[3] for row in rows if row[:3] == (best.weight, best.sxy, best.srgb))
    assert Image.open(tmp_path / "crf.png").format == "PNG"
    assert f"2 images of {folder}" in done.stdout
    assert f"best: {100 * top[3]:.2f} % at weight {best.weight:g}, sxy {best.sxy:g}, srgb 8" in done.stdout
    assert "without the CRF" in done.stdout
    assert "grid: 4 trials, best" in done.stderr
    assert "finer 1: " in done.stderr

    # Once more: nothing is left to be tried.
    table = (tmp_path / "crf.csv").read_bytes()
    again = tune(folder, "--out", out, *SMALL)
    assert f"2 images of {folder}, {len(rows)} trials from {tmp_path / 'crf.csv'}" in again.stdout
    assert (tmp_path / "crf.csv").read_bytes() == table


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(folder, tmp_path, monkeypatch):
    out = tmp_path / "crf.json"
    mean_ious = TrialScorer.mean_ious

    def interrupted(self, sxy, srgb, weights, done):
        if sxy == 20:
            raise KeyboardInterrupt
        return mean_ious(self, sxy, srgb, weights, done)

    with monkeypatch.context() as patch:
        patch.setattr(TrialScorer, "mean_ious", interrupted)
        stopped = tune(folder, "--out", out, *SMALL, ok=False)
    assert stopped.exit_code == 130
    assert "error: interrupted; 2 trials are saved in" in stopped.stderr
    assert not out.exists()
    assert "2 trials from" in tune(folder, "--out", out, *SMALL).stdout
    whole = tmp_path / "whole.json"
    tune(folder, "--out", whole, *SMALL)
    assert whole.read_text() == out.read_text()
    assert whole.with_suffix(".csv").read_text() == out.with_suffix(".csv").read_text()


def test_without_matplotlib_all_but_the_picture_is_made(folder, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *p: None if name == "matplotlib" else found(name, *p))
    done = tune(folder, "--out", tmp_path / "crf.json", *SMALL)
    assert "needs matplotlib; install the extra 'plot'" in done.stderr
    assert (tmp_path / "crf.csv").exists()
    assert not (tmp_path / "crf.png").exists()


@pytest.fixture
def labeled(tiny_voc, tiny_metadata, tmp_path):
    """`tiny_voc` with the classes of the tiny model."""
    shutil.copytree(tiny_voc, tmp_path / "voc")
    (tmp_path / "voc" / "classes.txt").write_text("\n".join(tiny_metadata.classes))
    return tmp_path / "voc"


def test_labeled_photos_and_a_model(labeled, tiny_model, tmp_path):
    options = ["--model", tiny_model, "--list", "train", "--hold-out", "4", "--limit", "3", *SMALL]
    tune(labeled, "--out", tmp_path / "crf.json", *options)
    described = json.loads((tmp_path / "crf.csv").read_text().splitlines()[0].removeprefix("# "))
    assert described["list"] == "train-held-out-4-held-out-3"
    assert described["images"] == 3

    with pytest.raises(
        InputError, match=r"crf.csv: of another search: expected list .*; choose another file or delete it"
    ):
        tune(labeled, "--out", tmp_path / "crf.json", *options[:2], *options[2:5], "4", *SMALL)
    everything = ["--model", tiny_model, "--list", "train", "--hold-out", "0", *SMALL]
    assert f"6 images of {labeled}" in tune(labeled, "--out", tmp_path / "all.json", *everything).stdout


def test_a_model_of_other_classes(labeled, tiny_model, tmp_path):
    options = ["--model", tiny_model, "--list", "train", "--hold-out", "0", "--out", tmp_path / "crf.json", *SMALL]
    (labeled / "classes.txt").write_text("background\nred\ngreen\n")
    assert f"warning: class 2 is green in {labeled}, but blue in the model\n" in tune(labeled, *options).stderr
    (labeled / "classes.txt").write_text("sea\nsky\nsand\n")
    with pytest.raises(InputError, match=r"the model \(background, red, blue\), got sea, sky, sand; .*--classes"):
        tune(labeled, *options)


def test_the_folder_of_a_run_is_not_its_checkpoint(labeled, tmp_path):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    newest = tmp_path / "run" / "checkpoint-000010"
    newest.mkdir(parents=True)
    (newest / "state.json").touch()
    with pytest.raises(InputError, match=f"run: expected a checkpoint .*; use {newest}"):
        tune(labeled, "--model", newest.parent, "--list", "train", "--hold-out", "0", "--out", tmp_path / "crf.json")


def test_own_data_and_its_lists(labeled, tiny_model, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(labeled / "JPEGImages", own / "images")
    shutil.copytree(labeled / "SegmentationClassAug", own / "labels")
    shutil.copy(labeled / "classes.txt", own)
    (own / "train.txt").write_text("photo1\nphoto3\n")
    told = tune(own, "--out", tmp_path / "own.json", "--model", tiny_model, "--hold-out", "0", *SMALL)
    assert f"2 images of {own}" in told.stdout
    assert json.loads((tmp_path / "own.csv").read_text().splitlines()[0].removeprefix("# "))["list"] == "train"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("5,10", [5, 10]),
        ("50:10:100", [50, 60, 70, 80, 90, 100]),
        ("3:1:4.9, 8", [3, 4, 8]),
        ("0.1:0.1:0.3", [0.1, 0.2, pytest.approx(0.3)]),
        ("7", [7]),
    ],
)
def test_ranges_as_in_the_paper(text, numbers):
    assert _numbers("sxy", text) == numbers


@pytest.mark.parametrize(
    "text", ["", "5,x", "0", "-3", "nan", "inf", "5:1", "9:1:5", "1:0:5", "5:-1:1", "1:1e-9:5", "1,"]
)
def test_numbers_that_cannot_be_used(text):
    with pytest.raises(InputError, match="--sxy .*positive"):
        _numbers("sxy", text)


@pytest.mark.parametrize("name", [".", "/", "crf.csv", "crf.png"])
def test_a_name_that_cannot_be_that_of_the_parameters(folder, name):
    with pytest.raises(InputError, match=r"crf\.json"):
        tune(folder, "--out", name)


def test_mistakes(folder, tiny_voc, tiny_model, tmp_path):
    for arguments, message in (
        ([tmp_path / "none"], "none: no such folder"),
        ([tmp_path], "expected the folders images and labels, or JPEGImages"),
        (
            [tiny_voc, "--list", "train", "--hold-out", "0", "--model", tiny_model],
            "3 classes as in the model .*, got 21",
        ),
        ([folder, "--model", tiny_model], "--model .*: .* contains scores"),
        ([folder, "--list", "val"], "--list val: .* contains scores"),
        ([folder, "--out", tmp_path / "crf.csv"], "--out .*crf.csv: expected a JSON name"),
        ([folder, "--out", tmp_path / "no" / "crf.json"], "--out .*: expected an existing folder"),
        ([folder, "--weight", "1:2"], "--weight 1:2: expected positive numbers"),
        ([folder, "--sxy", "50,1e7"], "--sxy: expected .* to 1e.06"),
        ([folder, "--srgb", "0.001,5"], "--srgb: expected .*0.01"),
        ([folder, "--iterations", "1001"], "--iterations: expected .*1000"),
        ([folder, "--threads", "0"], "threads: expected an integer"),
        ([tiny_voc, "--list", "train", "--hold-out", "6"], "--hold-out 6: .* 6 images"),
        ([tiny_voc, "--list", "train"], r"--hold-out 100 \(the default\): .* 6 images .* --hold-out N"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            tune(*arguments, *([] if "--out" in arguments else ["--out", tmp_path / "crf.json"]))
        assert len(str(caught.value).splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_few_images_and_a_best_trial_far_from_the_first_values_are_noted(folder, tmp_path, monkeypatch):
    best = {"weight": 4, "sxy": 10, "srgb": 2}

    def mean_ious(_, sxy, srgb, weights, done):
        return [1 / (1 + abs(sxy - best["sxy"]) + abs(srgb - best["srgb"]) + abs(w - best["weight"])) for w in weights]

    monkeypatch.setattr(TrialScorer, "mean_ious", mean_ious)
    done = tune(folder, "--out", tmp_path / "a.json", "--weight", "4", "--sxy", "10,20", "--srgb", "8,10")
    assert "note: srgb 2 lies far outside the first values, 8 to 10" in done.stderr
    assert "note: sxy" not in done.stderr
    assert "2 images are few" in done.stderr
    best["srgb"] = 9
    done = tune(folder, "--out", tmp_path / "b.json", "--weight", "4", "--sxy", "10,20", "--srgb", "8,10")
    assert "lies far" not in done.stderr

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from atrous.cli import app
from atrous.cli.evaluate import _distribute, _step_counts
from atrous.errors import InputError

runner = CliRunner()
DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def data(tiny_voc, tmp_path):
    shutil.copytree(tiny_voc, tmp_path / "data")
    (tmp_path / "data" / "classes.txt").write_text("background\nred\nblue\n")
    return tmp_path / "data"


def evaluate(*arguments, ok=True):
    done = runner.invoke(app, ["evaluate", *map(str, arguments)], catch_exceptions=False)
    if ok:
        assert done.exit_code == 0, done.output
    return done


def test_tables_and_files(data, tiny_model, tmp_path):
    pytest.importorskip("jinja2", reason="needs the extra 'plot'")
    pytest.importorskip("matplotlib", reason="needs the extra 'plot'")
    report, scores, rows = tmp_path / "r.html", tmp_path / "s.json", tmp_path / "s.csv"
    options = ["--model", tiny_model, "--list", "train", "--steps", "0,2", "--workers", "2"]
    done = evaluate(data, *options, "--report", report, "--json", scores, "--csv", rows)
    assert done.stderr == ""
    for text in (
        "IoU in %",
        "with CRF",
        "class accuracy",
        "trimap half-width",
        "mean-field steps",
        "over 6 images of train",
    ):
        assert text in done.stdout
    assert f"wrote {scores}, {rows}, {report}" in done.stdout
    document = json.loads(scores.read_text())
    assert document["run"]["workers"] == 2
    assert document["run"]["listed_images"] == document["images"] == 6
    for name, labeling in document["labelings"].items():
        value = f"{100 * labeling['mean IoU']:.2f}"
        assert value in done.stdout, name
        assert f"{value} %" in report.read_text()
    assert len(rows.read_text().splitlines()) == 7


def test_own_folders_of_data(tiny_voc, tiny_model, tmp_path):
    shutil.copytree(tiny_voc / "JPEGImages", tmp_path / "images")
    shutil.copytree(tiny_voc / "SegmentationClassAug", tmp_path / "labels")
    (tmp_path / "classes.txt").write_text("background\nred\nblue\n")
    done = evaluate(tmp_path, "--model", tiny_model, "--list", "all", "--no-crf", "--no-trimap")
    assert "over 6 images of all" in done.stdout
    assert "with CRF" not in done.stdout
    assert "trimap" not in done.stdout


def test_without_void_there_is_no_trimap(data, tiny_model):
    for label in (data / "SegmentationClassAug").iterdir():
        with Image.open(label) as image:
            ids = np.array(image)
        ids[ids == 255] = 0
        Image.fromarray(ids).save(label)
    assert "no trimap: no label map has void pixels" in evaluate(data, "--model", tiny_model, "--list", "train").stdout


def test_folders_of_label_maps(data, tmp_path):
    maps = tmp_path / "maps"
    maps.mkdir()
    for name in ("photo1", "photo2"):
        with Image.open(data / "SegmentationClassAug" / f"{name}.png") as image:
            Image.fromarray(np.array(image) % 255).save(maps / f"{name}.png")
    done = evaluate(data, "--list", "train", "--masks", maps)
    assert done.stderr == f"warning: 2 of 6 images of train have a label map in {maps}\n"
    assert "over 2 of the 6 images of train" in done.stdout
    assert "100.00" in done.stdout
    with pytest.raises(InputError, match="--masks: .*--model"):
        evaluate(data, "--masks", maps, "--model", "x.onnx")


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the label maps in shared/data/paper_figures")
def test_the_authors_label_maps():
    folders = [DATA / "paper_figures" / name for name in ("res_none", "res_crf")]
    done = evaluate(DATA / "voc12", "--masks", folders[0], "--masks", folders[1], "--no-trimap")
    lines = {line[:22].strip(): line.split()[-2:] for line in done.stdout.splitlines()}
    assert lines["mean IoU"] == ["50.76", "61.96"]
    assert lines["pixel accuracy"] == ["88.82", "91.83"]
    assert "over 25 of the 305 images of val, a part of VOC's 1,449" in done.stdout


def test_label_maps_for_the_server_where_there_are_no_labels(data, tiny_model, tmp_path):
    (data / "SegmentationClassAug").rename(data / "away")
    (data / "ImageSets" / "Segmentation" / "test.txt").write_text("photo0\nphoto5\n")
    out = tmp_path / "submission"
    done = evaluate(data, "--model", tiny_model, "--list", "test", "--submit", out)
    assert done.stderr == "note: no image of this list has labels, so no scores are printed\n"
    assert done.stdout == f"wrote {out / 'results.tgz'}\n"
    names = sorted(path.name for path in (out / "results/VOC2012/Segmentation/comp6_test_cls").iterdir())
    assert names == ["photo0.png", "photo5.png"]
    with pytest.raises(InputError, match="SegmentationClassAug"):
        evaluate(data, "--model", tiny_model, "--list", "test")


def test_a_model_that_was_trained_on_these_images(data, make_model, tiny_metadata, tmp_path):
    from dataclasses import replace

    from atrous.data.folder_dataset import read_list

    listed = read_list(data, "train")
    metadata = replace(tiny_metadata, training_list="train", training_list_sha256=listed.sha256)
    model = make_model(tmp_path / "seen.onnx", metadata=metadata.to_json())
    done = evaluate(data, "--model", model, "--list", "train", "--limit", "2", "--no-crf")
    assert done.stderr == "warning: the model was trained on the images of train\n"


def test_other_classes_than_the_models(data, tiny_model):
    (data / "classes.txt").write_text("background\nred\ngreen\n")
    done = evaluate(data, "--model", tiny_model, "--list", "train", "--limit", "2")
    assert done.stderr == f"warning: class 2 is green in {data}, but blue in the model\n"
    (data / "classes.txt").write_text("_background_\nred\nBlue\n")
    assert evaluate(data, "--model", tiny_model, "--list", "train", "--limit", "2").stderr == ""
    (data / "classes.txt").write_text("background\nblue\nred\n")
    with pytest.raises(InputError, match=r"red as class 1.* got blue.* class 2; .*--classes"):
        evaluate(data, "--model", tiny_model, "--list", "train", "--limit", "2")
    (data / "classes.txt").write_text("sea\nsky\nsand\n")
    with pytest.raises(InputError, match=r"the model \(background, red, blue\), got sea, sky, sand; .*--classes"):
        evaluate(data, "--model", tiny_model, "--list", "train", "--limit", "2")
    (data / "classes.txt").unlink()
    with pytest.raises(InputError, match=r"3 classes as in the model .* 21 \(background, aeroplane, bicycle, ...\)"):
        evaluate(data, "--model", tiny_model, "--list", "train")


def test_mistakes_are_found_before_the_work(data, tiny_model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="--json .*: expected a file name"):
        evaluate(data, "--list", "train", "--json", tmp_path / "nowhere" / "s.json")
    with pytest.raises(InputError, match="--steps 1,x: expected numbers"):
        evaluate(data, "--list", "train", "--steps", "1,x")
    with pytest.raises(InputError, match="--device 'tpu'"):
        evaluate(data, "--list", "train", "--model", tiny_model, "--device", "tpu")
    with pytest.raises(InputError, match="mean_field_steps"):
        evaluate(data, "--list", "train", "--model", tiny_model, "--no-crf", "--steps", "1")
    monkeypatch.setattr("atrous.evaluation.report.find_spec", lambda name: None)
    with pytest.raises(InputError, match="jinja2 and matplotlib"):
        evaluate(data, "--list", "train", "--report", tmp_path / "r.html")


def test_numbers_of_steps():
    assert _step_counts("5,0,1") == [0, 1, 5]
    assert _step_counts("0:3,10") == [0, 1, 2, 3, 10]
    for text in ("", "-1", "1.5", "3:1", "0:99999999999", "1001"):
        with pytest.raises(InputError, match="--steps"):
            _step_counts(text)


def test_cores_are_distribute(monkeypatch):
    monkeypatch.setattr("atrous._resources.check_threads", lambda threads: 16)
    assert _distribute(None, None, 1) == (8, 2)
    assert _distribute(None, None, 4) == (4, 1)
    assert _distribute(2, None, 1) == (2, 8)
    assert _distribute(None, 8, 1) == (2, 8)
    assert _distribute(None, 64, 1) == (1, 64)
    assert _distribute(None, None, 32) == (1, 1)


def test_the_gain_over_other_scores(data, tiny_model, tmp_path):
    options = [data, "--model", tiny_model, "--list", "train", "--no-trimap"]
    before = tmp_path / "before.json"
    evaluate(*options, "--json", before)
    words = evaluate(*options, "--preset", "deeplab-largefov", "--against", before).stdout.splitlines()
    (head,) = (n for n, line in enumerate(words) if line.startswith("mean IoU in %"))
    assert words[head].split()[-5:] == ["this", "that", "gain", "from", "to"]
    assert words[head + 1].startswith("network alone")
    this, that, *rest = words[head + 1].split()[2:]
    assert this == that
    assert rest == ["0.00"] * 3
    assert words[head + 2].startswith("with CRF")
    assert f"that: {before}" in words[head + 3]
    with pytest.raises(InputError, match=r"before\.json: .*the same images"):
        evaluate(*options, "--limit", "3", "--against", before, "--json", tmp_path / "no.json")
    assert not (tmp_path / "no.json").exists()

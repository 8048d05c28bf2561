import importlib.util
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from atrous.cli import app
from atrous.cli.data import text
from atrous.data.validate import Findings, Problem
from atrous.errors import InputError

runner = CliRunner()


@pytest.fixture
def own(tmp_path):
    root = tmp_path / "own"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for i in range(5, 10):
        Image.fromarray(np.full((4, 4, 3), 9 * i, np.uint8)).save(root / f"images/photo {i}.png")
        Image.fromarray(np.array([[0, 0, 0, 1]] * 3 + [[255] * 4], np.uint8)).save(root / f"labels/photo {i}.png")
    (root / "classes.txt").write_text("sky\nnight road\n")
    return root


def data(*arguments):
    return runner.invoke(app, ["data", *map(str, arguments)], catch_exceptions=False)


def test_check_prints_the_classes_and_the_lists(own, tmp_path):
    done = data("check", own, "--json", tmp_path / "report.json", "--threads", "2")
    assert done.exit_code == 0
    assert done.stdout == (
        "note: no list of images, so train and val are split by a hash of the names\n"
        "\n"
        " id  class       pixels %    images\n"
        "  0  sky            56.25         5\n"
        "  1  night road     18.75         5\n"
        "255  void           25.00         5\n"
        "\n"
        "list                images\n"
        "all                      5\n"
        "train                    4\n"
        "val                      1\n"
        "\n"
        "5 images with masks; no problems found\n"
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["problems"] == []
    assert report["classes"][1] == {
        "id": 1,
        "name": "night road",
        "pixels": 15,
        "pixels_percent": 18.75,
        "images": 5,
    }
    assert report["void"] == {"pixels": 20, "pixels_percent": 25.0}
    assert report["lists"] == {"all": 5, "train": 4, "val": 1}


def test_check_names_each_problem_and_exits_with_1(own, tmp_path):
    (own / "labels/photo 6.png").unlink()
    (own / "labels/photo 7.png").write_text("no picture")
    done = data("check", own, "--json", tmp_path / "report.json")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{own}/images/photo 6.png: expected a label map {own}/labels/photo 6.png")
    assert lines[1].startswith(f"{own}/labels/photo 7.png: expected a PNG image, got an unknown format")
    assert lines[-1] == "3 images with masks; 2 problem(s)"
    report = json.loads((tmp_path / "report.json").read_text())
    assert [(p["kind"], p["file"][-5:]) for p in report["problems"]] == [("pair", "6.png"), ("label map", "7.png")]


def test_check_counts_the_given_ids_as_void(own):
    Image.fromarray(np.full((4, 4), 11, np.uint8) * np.eye(4, dtype=np.uint8)).save(own / "labels/photo 6.png")
    assert "pass --void 11 if" in data("check", own).stdout
    done = data("check", own, "--void", 11, "--void", 12)
    assert (done.exit_code, "  0  sky            60.00" in done.stdout) == (0, True)


def test_check_of_what_is_no_data_set_is_one_line(own, tmp_path):
    with pytest.raises(InputError, match="images and labels"):
        data("check", tmp_path)


def test_a_report_that_cannot_be_written_is_said_before_the_work(own, tmp_path, monkeypatch):
    monkeypatch.setattr("atrous.data.check_dataset", lambda *_args, **_options: pytest.fail("checked all the same"))
    for report in (tmp_path / "none" / "report.json", tmp_path):
        with pytest.raises(InputError, match=r"--json .*: expected a file name"):
            data("check", own, "--json", report)


def test_without_classes_there_is_no_table_of_them(own):
    (own / "classes.txt").write_text("sky\n")
    done = data("check", own)
    assert done.exit_code == 1
    first, *_, head, _all, _train, _val, _, last = done.stdout.splitlines()
    assert first.startswith(f"{own}/classes.txt: expected 2 to 255 classes")
    assert head == "list                images"
    assert last == "5 images with masks; 1 problem(s)"


def test_ctrl_c_is_one_line(own, monkeypatch):
    def interrupted(_sample):
        raise KeyboardInterrupt

    monkeypatch.setattr("atrous.data.validate._look", interrupted)
    done = data("check", own)
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


def test_many_problems_of_a_kind_are_counted():
    found = Findings("folders", ("a", "b"))
    found.problems = [Problem(f"{i:03}.png", "id", "no") for i in range(50)] + [Problem("z.jpg", "image", "damaged")]
    lines = text(found).splitlines()
    assert lines[:2] == ["000.png: no", "001.png: no"]
    assert "z.jpg: damaged" in lines
    assert "... and 30 more of the kind 'id' (--json FILE lists all)" in lines
    assert lines[-1] == "0 images with masks; 51 problem(s)"


def test_a_file_name_cannot_break_the_report(own):
    for name in ("two\nlines", "\x1b[31mred", "half \udcff"):
        try:
            (own / "images" / f"{name}.png").write_bytes((own / "images/photo 5.png").read_bytes())
        except OSError:  # some systems have no such names
            continue
    done = data("check", own)
    assert done.exit_code == 1
    assert "\x1b" not in done.stdout
    assert len([line for line in done.stdout.splitlines() if "a label map" in line]) == done.stdout.count("a label map")


@pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="SciPy writes the files")
def test_sbd(tmp_path):
    from scipy.io import savemat

    release, voc, out = tmp_path / "benchmark_RELEASE", tmp_path / "VOC2012", tmp_path / "out"
    for folder in (release / "dataset/cls", voc / "JPEGImages", voc / "SegmentationClass"):
        folder.mkdir(parents=True)
    (voc / "ImageSets/Segmentation").mkdir(parents=True)
    for name in "abc":
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(voc / f"JPEGImages/{name}.jpg")
    savemat(release / "dataset/cls/a.mat", {"GTcls": {"Segmentation": np.full((4, 4), 3, np.uint8)}})
    (release / "dataset/train.txt").write_text("a\n")
    (release / "dataset/val.txt").write_text("missing\n")
    for name, listed in (("b", "train"), ("c", "val")):
        Image.fromarray(np.full((4, 4), 5, np.uint8)).save(voc / f"SegmentationClass/{name}.png")
        (voc / f"ImageSets/Segmentation/{listed}.txt").write_text(f"{name}\n")
    done = data("sbd", release, "--voc", voc, "--out", out)
    assert done.exit_code == 0, done.output
    assert "train_aug          2 images, of the 10,582 published" in done.stdout
    assert f"3 masks written, 0 existed: {out}" in done.stdout
    assert "note: 1 listed images lack" in done.stderr
    assert data("check", out).exit_code == 0
    assert "0 masks written, 3 existed" in data("sbd", release, "--voc", voc, "--out", out).stdout
    with pytest.raises(InputError, match="expected SBD's release"):
        data("sbd", voc, "--voc", voc, "--out", out)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="SciPy writes the files")
def test_sbd_and_voc_of_their_published_size(tmp_path):
    """8,498 + 2,857 images of SBD, 1,464 + 1,449 of VOC, of which SBD labeled 2,237 too: 10,582 for training."""
    from scipy.io import savemat

    release, voc, out = tmp_path / "benchmark_RELEASE", tmp_path / "VOC2012", tmp_path / "out"
    for folder in (
        release / "dataset/cls",
        voc / "JPEGImages",
        voc / "SegmentationClass",
        voc / "ImageSets/Segmentation",
    ):
        folder.mkdir(parents=True)
    names = [f"2008_{i:06}" for i in np.random.default_rng(0).permutation(12031)]
    of_voc, of_sbd = names[:2913], names[2913 - 2237 :]
    of_sbd = [of_sbd[i] for i in np.random.default_rng(1).permutation(len(of_sbd))]
    both = set(of_voc) & set(of_sbd)
    assert (len(of_sbd), len(both)) == (8498 + 2857, 2237)

    photo, mask, mat = tmp_path / "photo.jpg", tmp_path / "mask.png", tmp_path / "labels.mat"
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(photo)
    Image.fromarray(np.full((4, 4), 5, np.uint8)).save(mask)
    savemat(mat, {"GTcls": {"Segmentation": np.full((4, 4), 3, np.uint8)}})
    for listed, source, folder in (
        (names, photo, voc / "JPEGImages"),
        (of_voc, mask, voc / "SegmentationClass"),
        (of_sbd, mat, release / "dataset/cls"),
    ):
        content = source.read_bytes()
        for name in listed:
            (folder / f"{name}{source.suffix}").write_bytes(content)
    for path, listed in (
        (release / "dataset/train.txt", of_sbd[:8498]),
        (release / "dataset/val.txt", of_sbd[8498:]),
        (voc / "ImageSets/Segmentation" / "train.txt", of_voc[:1464]),
        (voc / "ImageSets/Segmentation" / "val.txt", of_voc[1464:]),
    ):
        path.write_text("".join(f"{name}\n" for name in listed))

    done = data("sbd", release, "--voc", voc, "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[:5] == [
        "train          1,464 images, as published",
        "val            1,449 images, as published",
        "trainval       2,913 images, as published",
        "train_aug     10,582 images, as published",
        "trainval_aug  12,031 images, as published",
    ]
    assert "note" not in done.stderr
    trained, val = (
        set((out / "ImageSets/Segmentation" / f"{name}.txt").read_text().split()) for name in ("train_aug", "val")
    )
    assert not trained & val
    assert trained == (set(of_sbd) | set(of_voc[:1464])) - set(of_voc[1464:])
    ids = {name: np.asarray(Image.open(out / f"SegmentationClassAug/{name}.png")).max() for name in names[::50]}
    assert ids == {name: 5 if name in of_voc else 3 for name in names[::50]}  # VOC's mask where both labeled it

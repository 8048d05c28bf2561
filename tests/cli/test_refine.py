import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from atrous.cli import app
from atrous.crf import PRESETS, Bilateral, DenseCRF, Spatial, resolve
from atrous.errors import InputError
from atrous.labelmap import read_labels, write_labels


@pytest.fixture
def refine(tmp_path, monkeypatch, red_square):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(red_square).save("photo.png")

    def run(*arguments):
        result = CliRunner().invoke(app, ["refine", "photo.png", *map(str, arguments)])
        if isinstance(result.exception, InputError):  # what `main` prints
            return 2, result.stdout, f"error: {result.exception}\n"
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def blurred():
    """(3, 64, 96) probabilities: class 2 somewhere about the red square, class 1 nowhere."""
    p = np.full((3, 64, 96), 0.05, np.float32)
    p[2] = 0.3
    p[2, 12:44, 30:76] = 0.65
    p[0] = 1 - p[1] - p[2]
    return p


TRUTH = np.zeros((64, 96), np.uint8)
TRUTH[16:48, 24:72] = 2


def test_an_empty_mask_is_background_alone(refine):
    Image.new("L", (96, 64)).save("mask.png")
    code, printed, _ = refine("mask.png")
    assert code == 0
    assert printed.startswith("photo.png: background alone")


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_probabilities_follow_the_photo(refine, blurred, axes, dtype):
    np.save("p.npy", blurred.transpose(axes).astype(dtype))
    code, out, err = refine("p.npy", "--sxy", 60)
    assert (code, err) == (0, "")
    assert out.startswith("photo.png: class 0 75.0 %, class 2 25.0 % (")
    assert np.array_equal(read_labels("segmentation/photo.png"), TRUTH)


def test_noise_is_refined_at_half_its_size_and_told(refine, blurred, monkeypatch):
    monkeypatch.setattr("atrous.crf.most_vertices", lambda image, kernels: image.size // 3)
    np.save("p.npy", blurred)
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save("photo.png")
    code, out, err = refine("p.npy")
    assert (code, err) == (0, "")
    assert "means of 4 x 4" in out
    assert read_labels("segmentation/photo.png").shape == (64, 96)


def test_labels_follow_the_photo(refine):
    labels = np.zeros((64, 96), np.uint8)
    labels[12:44, 30:76] = 2
    labels[:, 70:80] = 255
    write_labels("labels.png", labels)
    assert refine("labels.png", "--confidence", 0.6, "--sxy", 60, "--probabilities", "--no-overlay")[0] == 0
    assert np.array_equal(read_labels("segmentation/photo.png"), TRUTH)
    stored = np.load("segmentation/photo.probabilities.npy")
    assert stored.shape == (3, 64, 96)
    assert (stored[1] == 0).all()


def test_every_parameter(refine, blurred):
    np.save("p.npy", blurred)
    options = ["--preset", "deeplab", "--weight", 3, "--sxy", 60, "--srgb", 4, "--spatial-weight", 1]
    options += ["--spatial-sxy", 2, "--iterations", 5, "--normalization", "symmetric", "--threads", 1]
    assert refine("p.npy", *options, "--min-region", 0, "--probabilities")[0] == 0
    kernels = [Spatial(weight=1, sxy=2), Bilateral(weight=3, sxy=60, srgb=4)]
    crf = DenseCRF(np.asarray(Image.open("photo.png")), kernels, iterations=5, normalization="symmetric")
    np.testing.assert_array_equal(np.load("segmentation/photo.probabilities.npy"), crf(blurred).astype(np.float16))


def test_the_parameters_of_tune(refine, blurred, tmp_path):
    np.save("p.npy", blurred)
    tuned = {"weight": 2, "sxy": 30, "srgb": 8, "spatial_weight": 1, "iterations": 4, "normalization": "symmetric"}
    (tmp_path / "crf.json").write_text(json.dumps(tuned))
    assert refine("p.npy", "--crf", "crf.json", "--srgb", 6, "--probabilities")[0] == 0
    kernels = [Spatial(weight=1, sxy=3), Bilateral(weight=2, sxy=30, srgb=6)]
    crf = DenseCRF(np.asarray(Image.open("photo.png")), kernels, iterations=4, normalization="symmetric")
    np.testing.assert_array_equal(np.load("segmentation/photo.probabilities.npy"), crf(blurred).astype(np.float16))
    code, _, err = refine("p.npy", "--crf", "crf.json", "--preset", "deeplab", "--overwrite")
    assert (code, err.count("\n")) == (2, 1)
    assert "--crf crf.json" in err


@pytest.mark.parametrize("name", PRESETS)
def test_options_replace_values_of_a_preset(refine, blurred, name):
    np.save("p.npy", blurred)
    assert refine("p.npy", "--preset", name, "--srgb", 4, "--probabilities")[0] == 0
    spatial, bilateral = resolve(name)
    crf = DenseCRF(np.asarray(Image.open("photo.png")), [spatial, replace(bilateral, srgb=4)], iterations=10)
    np.testing.assert_array_equal(np.load("segmentation/photo.probabilities.npy"), crf(blurred).astype(np.float16))


def test_class_names(refine, blurred, tmp_path):
    np.save("p.npy", blurred)
    (tmp_path / "names.txt").write_text("sky\ngrass\nwater\n")
    assert "sky 75.0 %, water 25.0 %" in refine("p.npy", "--sxy", 60, "--classes", "names.txt")[1]
    (tmp_path / "names.txt").write_text("sky\n")
    code, _, err = refine("p.npy", "--classes", "names.txt", "--overwrite")
    assert code == 2
    assert "names.txt" in err


def bad(p):
    with_nan, negative, huge, zero = p.copy(), p.copy(), p.copy(), p.copy()
    with_nan[1, 2, 3], negative[1, 2, 3], huge[1, 2, 3], zero[:, 2, 3] = np.nan, -0.1, np.inf, 0
    return {
        "NaN": with_nan,
        "got -0.1": negative,
        "inf": huge,
        "0 for all classes": zero,
        "upright image": p[:, :-1],
        "image's size": p[0, :-1],
        "floats": (p * 255).astype(np.uint8),
        "softmax": np.log(p),
        "object": np.array([{}]),
    }


@pytest.mark.parametrize("says", list(bad(np.ones((3, 64, 96), np.float32))))
def test_bad_probabilities_are_one_line(refine, blurred, says, tmp_path):
    import re

    np.save("p.npy", bad(blurred)[says], allow_pickle=True)
    code, _, err = refine("p.npy")
    assert code == 2
    assert err.count("\n") == 1
    assert "p.npy" in err
    assert re.search(says, err, re.IGNORECASE)
    assert not (tmp_path / "segmentation").exists()


def test_what_is_no_array(refine, tmp_path):
    (tmp_path / "text.npy").write_text("text")
    (tmp_path / "empty.npy").touch()
    np.save("whole.npy", np.zeros((3, 64, 96), np.float32))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "whole.npy").read_bytes()[:1000])
    np.savez("archive.npz", a=np.zeros(3))
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    for name in ("text", "empty", "cut", "archive", "missing"):
        code, _, err = refine(f"{name}.npy")
        assert (code, err.count("\n")) == (2, 1)
        assert f"{name}.npy" in err


def test_both_orders_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 4)).save("photo.png")
    np.save("p.npy", np.full((4, 4, 4), 0.25, np.float32))
    result = CliRunner().invoke(app, ["refine", "photo.png", "p.npy"])
    assert "ambiguous" in str(result.exception)


@pytest.mark.parametrize(
    "options",
    [
        ("p.npy", "--confidence", 0.5),
        ("labels.png", "--confidence", 1),
        ("labels.png", "--confidence", 0.2),
        ("blank.png",),
        ("small.png",),
        ("photo.png",),
        ("p.npy", "--preset", "none"),
        ("p.npy", "--normalization", "odd"),
        ("p.npy", "--iterations", -1),
        ("p.npy", "--sxy", 0),
        ("p.npy", "--srgb", "nan"),
        ("p.npy", "--threads", 0),
    ],
)
def test_arguments_that_cannot_be_used(refine, blurred, options):
    np.save("p.npy", blurred)
    write_labels("labels.png", TRUTH)
    write_labels("blank.png", np.full((64, 96), 255, np.uint8))
    write_labels("small.png", TRUTH[:5])
    code, _, err = refine(*options)
    assert code == 2
    assert err.count("\n") == 1


def test_an_output_that_exists(refine, blurred):
    np.save("p.npy", blurred)
    assert refine("p.npy")[0] == 0
    code, _, err = refine("p.npy")
    assert code == 2
    assert "--overwrite" in err
    assert refine("p.npy", "--overwrite")[0] == 0


def test_overlay_colors_of_some_classes(refine, blurred, tmp_path):
    np.save("p.npy", blurred)
    (tmp_path / "names.txt").write_text("background\nroad\nwater\n")
    options = ("--sxy", 60, "--classes", "names.txt", "--opacity", 1, "--overwrite")

    def drawn(*extra):
        assert refine("p.npy", *options, *extra)[0] == 0
        with Image.open("segmentation/photo.overlay.jpg") as overlay:
            return np.median(np.asarray(overlay)[TRUTH == 2], axis=0).tolist()

    own = drawn()
    (tmp_path / "colors.txt").write_text("road 0 255 0\n")
    assert drawn("--colors", "colors.txt") == own
    (tmp_path / "colors.txt").write_text("water 0 0 255\n")
    assert drawn("--colors", "colors.txt") == pytest.approx([0, 0, 255], abs=12)

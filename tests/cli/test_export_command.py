import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import atrous
from atrous.cli import app
from atrous.data.metadata import CrfParameters
from atrous.errors import InputError

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
onnx = pytest.importorskip("onnx", reason="needs the extra 'train'")
pytest.importorskip("onnxscript", reason="needs the extra 'train'")

from atrous.backends import OnnxEngine
from atrous.network import onnx_export as exporting
from atrous.network.torch_backend import TorchEngine


class Scores(torch.nn.Module):
    """The tiny model's convolution, in PyTorch."""

    name = "deeplab-largefov"

    def __init__(self, model):
        super().__init__()
        weights = {w.name: torch.from_numpy(onnx.numpy_helper.to_array(w).copy()) for w in model.graph.initializer}
        self.conv = torch.nn.Conv2d(3, 3, 1, stride=8)
        self.conv.load_state_dict({"weight": weights["w"], "bias": weights["b"]})

    classes, output_stride = 3, 8

    def forward(self, x):
        return self.conv(x)


@pytest.fixture
def checkpoint(monkeypatch, tiny_model, tiny_metadata, tmp_path):
    """A checkpoint of the tiny model, and exporters that copy it, off by as much as wished: PyTorch's takes long."""
    off = SimpleNamespace(by=0.0, calibration=None, folder=tmp_path / "checkpoint")
    off.folder.mkdir()

    def read(folder, *, crf=None, **_):
        if folder != off.folder:
            raise InputError(f"{folder}: expected a checkpoint folder")
        metadata = tiny_metadata if crf is None else type(tiny_metadata)(**{**vars(tiny_metadata), "crf": crf})
        return TorchEngine(Scores(onnx.load(tiny_model)), metadata)

    def write(precision):
        def export(net, path, metadata, calibration=None):
            off.calibration = calibration
            model = onnx.load(tiny_model)
            (bias,) = [w for w in model.graph.initializer if w.name == "b"]
            moved = onnx.numpy_helper.to_array(bias) + np.float32([0, off.by, 0])
            bias.CopyFrom(onnx.numpy_helper.from_array(moved, "b"))
            exporting._write(model, path, type(metadata)(**{**vars(metadata), "precision": precision}))

        return export

    monkeypatch.setattr(TorchEngine, "read", read)
    for name, precision in (("export_float", "float32"), ("export_float16", "float16"), ("export_int8", "int8")):
        monkeypatch.setattr(exporting, name, write(precision))
    return off


@pytest.fixture
def data(tmp_path, red_square):
    for folder in ("images", "labels"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    (tmp_path / "data" / "classes.txt").write_text("background\nred\nblue\n")
    labels = np.zeros((64, 96), np.uint8)
    labels[16:48, 24:72] = 1
    for i in range(12):
        Image.fromarray(np.roll(red_square, i, axis=1)).save(tmp_path / "data" / "images" / f"{i}.png")
        Image.fromarray(np.roll(labels, i, axis=1)).save(tmp_path / "data" / "labels" / f"{i}.png")
    (tmp_path / "data" / "train.txt").write_text("".join(f"{i}\n" for i in range(9)))
    (tmp_path / "data" / "val.txt").write_text("9\n10\n11\n")
    return tmp_path / "data"


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_a_float_file_is_compared_on_a_generated_picture(checkpoint, tmp_path):
    out = tmp_path / "model.onnx"
    done = run(checkpoint.folder, out, "--notes", "mine")
    assert done.exit_code == 0, done.output
    assert "a generated image" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("MB, float32")
    metadata = OnnxEngine(out).metadata
    assert (metadata.precision, metadata.notes) == ("float32", "mine")
    assert atrous.Segmenter(out).classes == ("background", "red", "blue")


def test_int8_is_compared_on_photos_it_was_not_calibrated_on(checkpoint, data, tmp_path):
    done = run(checkpoint.folder, tmp_path / "model.onnx", "--calibrate", data, "--images", 4)
    assert done.exit_code == 0, done.output
    assert len(checkpoint.calibration) == 4
    assert "5 images of train, not used for calibration" in done.stdout
    assert "mean IoU, with CRF" in done.stdout
    done = run(checkpoint.folder, tmp_path / "model.onnx", "--calibrate", data / "images")
    assert done.exit_code == 0, done.output
    assert len(checkpoint.calibration) == 12
    assert "12 images of images, also used for calibration" in done.stdout
    assert "mean IoU" not in done.stdout
    assert OnnxEngine(tmp_path / "model.onnx").metadata.precision == "int8"


@pytest.mark.parametrize("option", ["--calibrate", "--check"])
def test_data_with_other_class_names(checkpoint, data, tmp_path, option):
    (data / "classes.txt").write_text("background\nred\ngreen\n")
    done = run(checkpoint.folder, tmp_path / "model.onnx", option, data)
    assert f"warning: class 2 is green in {data}, but blue in the model\n" in done.stderr
    (data / "classes.txt").write_text("sea\nsky\nsand\n")
    (tmp_path / "model.onnx").unlink()
    done = run(checkpoint.folder, tmp_path / "model.onnx", option, data)
    assert isinstance(done.exception, InputError)
    assert "(background, red, blue), got sea, sky, sand" in str(done.exception)
    assert not (tmp_path / "model.onnx").exists()


def test_large_photos_are_scaled_down_to_calibrate_on(checkpoint, tmp_path):
    Image.new("RGB", (2000, 1000)).save(tmp_path / "large.jpg")
    assert run(checkpoint.folder, tmp_path / "model.onnx", "--calibrate", tmp_path / "large.jpg").exit_code == 0
    assert [photo.shape for photo in checkpoint.calibration] == [(256, 513, 3)]


def test_out_of_tolerance_nothing_is_written(checkpoint, data, tmp_path):
    out, report = tmp_path / "model.onnx", tmp_path / "parity.json"
    out.write_bytes(b"the one before")
    before = set(tmp_path.iterdir())
    checkpoint.by = 4.5
    done = run(checkpoint.folder, out, "--check", data, "--report", report)
    assert isinstance(done.exception, InputError)  # which main turns into one line and status 2
    said = str(done.exception)
    assert "not written" in said
    assert "scores differ by up to" in said
    assert "mean IoU (network alone) falls by" in said
    assert "\n" not in said
    assert out.read_bytes() == b"the one before"
    assert set(tmp_path.iterdir()) == before | {report}
    assert len(json.loads(report.read_text())["faults"]) == 5
    kept = run(checkpoint.folder, out, "--check", data, "--keep")
    assert "(--keep)" in str(kept.exception)
    assert OnnxEngine(out).metadata.precision == "float32"


def test_the_tolerances_can_be_set(checkpoint, data, tmp_path):
    checkpoint.by = 0.02
    options = [checkpoint.folder, tmp_path / "model.onnx", "--check", data]
    assert "scores differ" in str(run(*options).exception)
    wide = run(*options, "--score-tolerance", 20, "--label-tolerance", 5, "--miou-tolerance", 5)
    assert wide.exit_code == 0, wide.output
    assert run(*options, "--precision", "float16", "--score-tolerance", 20).exit_code == 0
    assert "activations reach" in run(*options, "--precision", "float16", "--score-tolerance", 20).stdout


def test_crf_parameters_are_stored(checkpoint, tmp_path):
    (tmp_path / "crf.json").write_text(json.dumps(asdict(CrfParameters(weight=5, sxy=77, srgb=3))))
    assert run(checkpoint.folder, tmp_path / "model.onnx", "--crf", tmp_path / "crf.json").exit_code == 0
    assert OnnxEngine(tmp_path / "model.onnx").metadata.crf.sxy == 77


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["model.onnx", "--precision", "int8"], "--calibrate IMAGES"),
        (["model.onnx", "--precision", "float16", "--calibrate", "data"], "--precision int8"),
        (["model.onnx", "--list", "train"], "--list train: "),
        (["model.onnx", "--check-list", "val"], "pass --check DATA"),
        (["model.onnx", "--check", "nowhere"], "no such file or folder"),
        (["model.onnx", "--check", "data/images", "--check-list", "val"], "expected a data set"),
        (["model.onnx", "--check", "other"], "got 2 (sea, sky)"),
        (["model.onnx", "--crf", "data/classes.txt"], "expected CRF parameters as JSON"),
        (["model.onnx", "--crf", "scores.json"], "scores.json: expected CRF parameters as JSON from atrous tune"),
        (["model.onnx", "--report", "nowhere/parity.json"], "--report"),
        (["model"], "expected the name of an .onnx file"),
        (["nowhere/model.onnx"], "existing folder"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(checkpoint, data, tmp_path, monkeypatch, options, says):
    other = tmp_path / "other"
    for folder in ("images", "labels"):
        (other / folder).mkdir(parents=True)
        Image.new("L", (9, 9)).save(other / folder / "a.png")
    (other / "classes.txt").write_text("sea\nsky\n")
    (other / "val.txt").write_text("a\n")
    (tmp_path / "scores.json").write_text('{"classes": []}')
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    done = run(checkpoint.folder, *options)
    assert isinstance(done.exception, InputError), done.output
    assert says in str(done.exception)
    assert "\n" not in str(done.exception)
    assert set(tmp_path.iterdir()) == before

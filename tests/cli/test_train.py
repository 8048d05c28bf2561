import json

import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from safetensors.torch import save_file

from atrous.cli import app
from atrous.errors import InputError
from atrous.network.deeplab import DeepLab

runner = CliRunner()


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg.safetensors"
    save_file({n: p.detach() for n, p in DeepLab().named_parameters() if n.startswith("conv")}, path)
    return path


def test_train_evaluate_tune_and_export(tiny_voc, vgg, tmp_path):
    run = tmp_path / "run"
    small = ["--recipe", "cpu", "--crop", "33", "--batch", "1", "--iterations", "1", "--workers", "0"]
    trained = runner.invoke(
        app,
        ["train", str(tiny_voc), "--out", str(run), "--list", "train", "--vgg", str(vgg), "--hold-out", "2", *small],
    )
    assert trained.exit_code == 0, trained.output
    assert "4 images of train, from step 0" in trained.output
    checkpoint = run / "checkpoint-000001"
    assert json.loads((checkpoint / "state.json").read_text())["recipe"]["crop"] == 33

    scored = runner.invoke(
        app, ["evaluate", str(tiny_voc), "--model", str(checkpoint), "--list", "train", "--limit", "2"]
    )
    assert scored.exit_code == 0, scored.output
    assert "with CRF" in scored.output
    assert "over 2 images" in scored.output

    best = tmp_path / "crf.json"
    options = ["--model", str(checkpoint), "--list", "train", "--hold-out", "2", "--out", str(best)]
    tuned = runner.invoke(app, ["tune", str(tiny_voc), *options, "--weight", "2", "--sxy", "9,30", "--srgb", "5"])
    assert tuned.exit_code == 0, tuned.output
    assert json.loads(best.read_text())["sxy"] in (9, 30)

    model = tmp_path / "model.onnx"
    exported = runner.invoke(app, ["export", str(checkpoint), str(model), "--crf", str(best)])
    assert exported.exit_code == 0, exported.output
    assert model.stat().st_size > 80e6


def test_mistakes(tiny_voc, tmp_path):
    with pytest.raises(InputError, match="--recipe fast: unknown; expected one of paper, cpu"):
        runner.invoke(app, ["train", str(tiny_voc), "--out", str(tmp_path), "--recipe", "fast"], catch_exceptions=False)
    with pytest.raises(InputError, match="--sxy 5,x: expected positive numbers"):
        runner.invoke(app, ["tune", str(tiny_voc), "--out", "x.json", "--sxy", "5,x"], catch_exceptions=False)

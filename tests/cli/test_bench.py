import json
from importlib.metadata import version

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from atrous.cli import app
from atrous.cli.bench import PAPER, VOC, _covered
from atrous.errors import InputError


@pytest.fixture
def bench(tiny_model):
    def run(*arguments):
        result = CliRunner().invoke(app, ["bench", "--model", str(tiny_model), "--runs", "1", *map(str, arguments)])
        if isinstance(result.exception, InputError):
            return 2, "", str(result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout, result.stderr

    return run


def test_json_on_the_photo_that_ships(bench):
    code, out, err = bench("--images", 3, "--threads", 2, "--json")
    assert (code, err) == (0, "")
    figures = json.loads(out)
    assert figures["machine"]["threads"] == 2
    assert figures["machine"]["processor"]
    assert [name for name in figures["steps"] if name.startswith("network, 3")] == [
        f"network, {h}x{w}" for h, w in (PAPER, VOC)
    ]
    assert all(seconds > 0 for seconds in figures["steps"].values())
    whole = figures["folder"]
    assert whole["images"] == 3
    assert whole["median_pixels"] == 375 * 500
    assert whole["images_per_second"] == pytest.approx(3 / whole["seconds"])
    assert set(whole["stages_alone"]) == {"decoding", "network", "upsampling and CRF", "writing"}
    assert 0 < whole["network_busy"] <= 1
    assert whole["network_busy"] * whole["seconds"] <= whole["network_seconds"] * 1.001
    assert whole["pipeline_over_slowest_stage"] == pytest.approx(whole["seconds"] / max(whole["stages_alone"].values()))


def test_a_table_of_ones_own_photos_which_stay_alone(bench, tmp_path, red_square):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        Image.fromarray(np.roll(red_square, 8 * i, axis=1)).save(photos / f"{i}.png")
    code, out, err = bench(photos, "--images", 2)
    assert (code, err) == (0, "")
    assert "CRF" in out
    assert "2 images of about 0.01 megapixels" in out
    assert "times its slowest stage" in out
    assert sorted(p.name for p in photos.iterdir()) == ["0.png", "1.png", "2.png"]


def test_the_time_that_spans_cover():
    assert _covered([]) == 0
    assert _covered([(5, 6), (1, 2), (1.5, 3), (1.6, 1.7)]) == pytest.approx(3)


def test_the_engine_is_named(tiny_model):
    result = CliRunner().invoke(
        app, ["bench", "--model", str(tiny_model), "--engine", "onnxruntime", "--runs", "1", "--images", "1", "--json"]
    )
    machine = json.loads(result.stdout)["machine"]
    assert machine["engine"] == "onnxruntime"
    assert machine["engine_version"] == version("onnxruntime")


def test_what_is_no_photo(bench, tmp_path):
    assert bench(tmp_path / "none")[0] == 2
    assert "expected images" in bench(tmp_path)[2]

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs scipy")

from atrous.data import open_dataset, read_pair

SCRIPT = Path(__file__).parents[2] / "examples" / "scribbles" / "strokes.py"


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("strokes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SMALLEST", 9)
    return module


def draw(lines):
    return np.array([[255 if c == "." else int(c) for c in line] for line in lines], np.uint8)


def test_a_tall_and_a_wide_region_get_a_stroke_along_their_middle(script):
    labels = draw(
        [
            "...................",
            ".33333....7777777..",
            ".33333....7777777..",
            ".33333....7777777..",
            ".33333....7777777..",
            ".33333....7777777..",
            ".33333.............",
            ".33333........22...",
            "...................",
        ]
    )
    # Points whose distance from the outline is 2 or 3, on the middle line. The region of 2 is too small.
    expected = draw(
        [
            "...................",
            "..333..............",
            "..333.....7777777..",
            "..333.....7777777..",
            "..333.....7777777..",
            "..333..............",
            "..333..............",
            "..333..............",
            "...................",
        ]
    )
    assert np.array_equal(script.strokes(labels), expected)


def test_strokes_keep_labels_and_every_large_region_has_one(script):
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 4, (6, 8), dtype=np.uint8), np.ones((5, 7), np.uint8))
    labels[0] = 255
    thin = script.strokes(labels)
    drawn = thin != 255
    assert (thin[drawn] == labels[drawn]).all()
    assert 0 < drawn.mean() < 0.7
    for label in range(4):
        assert (thin == label).any()


def test_the_data_set_trains_as_it_is(script, tiny_voc, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["strokes.py", str(tiny_voc), str(tmp_path / "out"), "--list", "train"])
    script.main()
    assert "6 images" in capsys.readouterr().out
    data = open_dataset(tmp_path / "out")
    assert data.classes == open_dataset(tiny_voc).classes
    thin = read_pair(data.read("train").samples[1])[1]
    full = read_pair(open_dataset(tiny_voc).read("train").samples[1])[1]
    assert np.array_equal(thin, script.strokes(full))
    assert set(np.unique(thin)) == {0, 2, 255}


@pytest.mark.parametrize(("data", "out", "listed"), [("", "out", "train"), ("none", "new", "train"), ("", "new", "no")])
def test_mistakes_are_one_line(script, tiny_voc, tmp_path, monkeypatch, capsys, data, out, listed):
    (tmp_path / "out").mkdir()
    arguments = [str(tiny_voc / data), str(tmp_path / out), "--list", listed]
    monkeypatch.setattr(sys, "argv", ["strokes.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        script.main()
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

import sys

import numpy as np
import pytest
from PIL import Image

from atrous.crf.tune.plots import cells, draw_heat_map
from atrous.crf.tune.trials import Trial
from atrous.errors import InputError, MissingExtra


def test_cells_of_a_grid_meet_half_way():
    boxes = cells([(x, y) for x in (50, 60, 80) for y in (3, 4)])
    assert boxes[50, 3] == (45, 55, 2.5, 3.5)
    assert boxes[60, 4] == (50, 70, 3.5, 4.5)
    assert boxes[80, 3] == (70, 90, 2.5, 3.5)


def test_finer_cells_lie_on_the_coarse_ones():
    boxes = cells([(50, 4), (60, 4), (70, 4), (65, 4), (65, 3.5), (65, 4.5), (60, 3), (60, 5)])
    assert boxes[65, 4] == (62.5, 67.5, 3.75, 4.25)
    assert boxes[60, 4] == (55, 65, 3.5, 4.5)
    assert boxes[50, 4] == (45, 55, 3.75, 4.25)


def test_a_single_trial_has_a_cell():
    left, right, low, high = cells([(121, 5)])[121, 5]
    assert left < 121 < right
    assert low < 5 < high


def test_the_picture_shows_the_best_weight_of_each_cell(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra 'plot'")
    grid = [(x, y) for x in (50, 60, 70) for y in (3, 4, 5)]
    trials = [Trial(w, x, y, (x + y) / 100 + w / 1000) for w in (3, 5) for x, y in grid]
    path = tmp_path / "map.png"
    draw_heat_map(path, trials, baseline=0.4, images=7)
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert picture.shape == (720, 1080, 3)
    # Viridis: the lowest value is dark violet, the highest yellow.
    colors = {tuple(color) for color in picture.reshape(-1, 3)[::7].tolist()}
    assert (68, 1, 84) in colors
    assert (253, 231, 37) in colors

    # A weight that is never the best of its cell leaves no trace.
    again = tmp_path / "again.png"
    draw_heat_map(again, [trial for trial in trials if trial.weight == 5], baseline=0.4, images=7)
    assert np.array_equal(picture, np.asarray(Image.open(again).convert("RGB")))


def test_a_place_that_cannot_be_written(tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra 'plot'")
    with pytest.raises(InputError, match="cannot be written"):
        draw_heat_map(tmp_path / "no" / "map.png", [Trial(4, 121, 5, 0.5)], baseline=0.4, images=7)


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.collections", None)
    with pytest.raises(MissingExtra, match="extra 'plot'"):
        draw_heat_map(tmp_path / "map.png", [Trial(4, 121, 5, 0.5)], baseline=0.4, images=7)
    assert not list(tmp_path.iterdir())

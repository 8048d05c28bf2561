import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the extra 'train'")

from PIL import Image

from atrous.errors import InputError, MissingExtra
from atrous.training import curves
from atrous.training.curves import draw_curves, read_columns, running_median


def write_log(folder, steps):
    rng = np.random.default_rng(0)
    lines = [f"{s},{0.5 + rng.random():.4f},{1e-3 * (1 - s / (steps + 1)):.3e}" for s in range(1, steps + 1)]
    (folder / "log.csv").write_text("\n".join(["step,loss,rate", *lines, ""]))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 9), min_size=1, max_size=60), st.sampled_from([1, 3, 7]))
def test_the_running_median_is_that_of_each_window(values, window):
    values = np.array(values)
    places, medians = running_median(values, window)
    assert places.tolist() == list(range(len(values)))
    half = window // 2
    for i in places:
        assert medians[i] == np.median([values[j] for j in range(len(values)) if abs(j - i) <= half])


def test_long_runs_have_no_more_medians_than_can_be_seen():
    places, medians = running_median(np.arange(100_000.0), 5001)
    assert len(places) == len(medians) == 400
    assert (places[0], places[-1]) == (0, 99_999)
    assert np.array_equal(medians[100:-100], places[100:-100])


def test_columns_are_read_by_name_and_unfinished_lines_are_left_out(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss,rate,memory_mib\n2,0.5,1e-3,\n1,0.75,2e-3,9\n3,0.2")
    assert read_columns(path, ("step", "rate")).tolist() == [[1, 2], [2e-3, 1e-3]]
    path.write_text("step,loss,rate\n")
    assert read_columns(path, ("step", "loss")).shape == (2, 0)


def test_the_loss_is_drawn_where_it_is(tmp_path):
    pytest.importorskip("matplotlib")
    pictures = []
    for loss in (1.0, 2.0):
        (tmp_path / "log.csv").write_text(f"step,loss,rate\n1,{loss},1e-3\n2,{loss},1e-3\n3,4.0,1e-3\n")
        pictures.append(np.asarray(Image.open(draw_curves(tmp_path)).convert("RGB")).astype(int))
    top = [picture[: picture.shape[0] // 2] for picture in pictures]
    blue = [(p[..., 2] - p[..., 0]) > 100 for p in top]
    assert all(b.any() for b in blue)
    assert (blue[0] != blue[1]).any()


@pytest.mark.parametrize(("steps", "evaluations"), [(0, None), (0, 1), (1, 0), (1, 1), (2, 3), (700, None), (700, 3)])
@pytest.mark.filterwarnings("error")
def test_a_run_of_any_length_is_drawn(tmp_path, steps, evaluations):
    pytest.importorskip("matplotlib")
    write_log(tmp_path, steps)
    if evaluations is not None:
        lines = [f"{i + 1},0.{i + 1},0.9" for i in range(evaluations)]
        (tmp_path / "evaluations.csv").write_text("\n".join(["step,mean_iou,pixel_accuracy", *lines, ""]))
    path = draw_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    picture = Image.open(path)
    assert picture.format == "PNG"
    assert picture.height == (1080 if evaluations else 756)
    assert sorted(p.name for p in tmp_path.glob(".*")) == []
    red, green, blue = np.asarray(picture.convert("RGB")).astype(int).transpose(2, 0, 1)
    assert ((green - red > 60) & (green - blue > 20)).any() == bool(evaluations)


def test_the_title_says_the_best_score(tmp_path):
    scores = np.array([[100.0, 200, 300], [0.31, 0.48125, 0.47]])
    log = np.array([[1.0, 300], [1.0, 0.5], [1e-3, 0]])
    run = tmp_path / "big"
    assert curves._title(run, log, scores) == "big: 300 steps, best mean IoU (circle) 48.12 % after 200"
    assert curves._title(run, log, np.empty((2, 0))) == "big: 300 steps"


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"log\.csv: cannot be read .*name a run's folder"):
        draw_curves(tmp_path)
    (tmp_path / "log.csv").write_text("epoch,loss\n1,2\n")
    with pytest.raises(InputError, match=r"log\.csv: .* no column 'step'"):
        draw_curves(tmp_path)


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    write_log(tmp_path, 3)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"pip install 'atrous\[plot\]'"):
        draw_curves(tmp_path)
    assert not (tmp_path / "curves.png").exists()


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    write_log(tmp_path, 3)
    (tmp_path / "curves.png").write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"curves\.png: cannot be written \(No space left on device\); make room"):
        draw_curves(tmp_path)
    assert (tmp_path / "curves.png").read_bytes() == b"old"
    assert list(tmp_path.glob(".*")) == []


def test_a_field_of_megabytes_is_one_line(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("step,loss\n1," + "9" * 200_000 + "\n")
    with pytest.raises(InputError, match=r"train\.csv: expected a run's table"):
        read_columns(path, ("step", "loss"))

import pytest

pytest.importorskip("torch", reason="needs the extra 'train'")
np = pytest.importorskip("numpy")
pytest.importorskip("matplotlib")

from PIL import Image

from atrous.errors import InputError
from atrous.training.logger import draw_curves


def write_tables(folder, losses, scores=()):
    rows = [f"{n},{loss},1e-3" for n, loss in enumerate(losses, start=1)]
    (folder / "log.csv").write_text("\n".join(["step,loss,lr", *rows, ""]))
    rows = [f"{n},{score}" for n, score in enumerate(scores, start=1)]
    (folder / "evaluations.csv").write_text("\n".join(["step,mean_iou", *rows, ""]))


def picture(folder):
    with Image.open(draw_curves(folder)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize(("steps", "evaluations"), [(0, 0), (0, 1), (1, 0), (1, 1), (2, 3), (700, 0), (700, 3)])
@pytest.mark.filterwarnings("error")
def test_a_run_of_any_length_is_drawn(tmp_path, steps, evaluations):
    write_tables(tmp_path, np.linspace(2, 0.5, steps), [0.1 * n for n in range(1, evaluations + 1)])
    red, green, blue = picture(tmp_path).transpose(2, 0, 1)
    assert ((green - red > 60) & (green - blue > 20)).any() == bool(evaluations)
    assert list(tmp_path.glob(".*")) == []


def test_the_loss_is_drawn_where_it_is(tmp_path):
    pictures = []
    for loss in (1.0, 2.0):
        write_tables(tmp_path, [loss, loss, 4.0])
        pictures.append(picture(tmp_path))
    blue = [(p[..., 2] - p[..., 0]) > 100 for p in pictures]
    assert all(b.any() for b in blue)
    assert (blue[0] != blue[1]).any()


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    write_tables(tmp_path, [1.0, 0.5])
    (tmp_path / "curves.png").write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"curves\.png"):
        draw_curves(tmp_path)
    assert (tmp_path / "curves.png").read_bytes() == b"old"
    assert list(tmp_path.glob(".*")) == []


def test_a_name_with_dollar_signs_is_no_formula(tmp_path):
    folder = tmp_path / "$x^$"
    folder.mkdir()
    write_tables(folder, [1.0, 0.5])
    assert draw_curves(folder).is_file()

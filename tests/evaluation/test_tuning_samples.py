from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.crf.tune.search import search
from atrous.data.folder_dataset import read_list
from atrous.errors import InputError
from atrous.evaluation.evaluator import evaluate
from atrous.evaluation.tuning_samples import FolderSamples, NetworkSamples, model_sha256
from atrous.segmenter import Segmenter

ONE_TRIAL = {"refinements": 0, "most_moves": 0}


class Counting(Segmenter):
    """A segmenter that counts how often its network runs."""

    runs = 0

    def probabilities(self, image):
        self.runs += 1
        return super().probabilities(image)


@pytest.fixture
def samples(tiny_voc):
    return read_list(tiny_voc, "train").samples


def test_a_trial_of_a_network_is_what_its_evaluation_with_these_parameters_says(samples, tiny_model):
    segmenter = Counting(tiny_model)
    found = search(NetworkSamples(segmenter, samples), weights=[4], sxys=[60], srgbs=[5], **ONE_TRIAL)
    assert segmenter.runs == len(samples)
    direct = evaluate(segmenter, samples)  # with weight 4, sxy 60, srgb 5: the model's own
    # Half precision in between.
    assert found.best.mean_iou == pytest.approx(direct.crf.mean_iou(), abs=2e-3)
    assert found.baseline == pytest.approx(direct.dcnn.mean_iou(), abs=2e-3)


@pytest.mark.parametrize("room", [0, 3 * 40 * 50 * 2 * 4, 2**30])
def test_what_does_not_fit_the_memory_goes_to_the_disk(samples, tiny_model, room, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    segmenter = Counting(tiny_model)
    kept = NetworkSamples(segmenter, samples, most_in_memory=room)
    first = [np.array(sample.probabilities) for sample in kept]
    in_memory = min(len(samples), room // (3 * 40 * 50 * 2))
    assert len(list(tmp_path.glob("*/*.npy"))) == len(samples) - in_memory
    for sample, probabilities in zip(kept, first, strict=True):
        assert sample.probabilities.dtype == np.float16
        assert np.array_equal(sample.probabilities, probabilities)
    assert segmenter.runs == len(samples)
    assert kept[-1] is kept[len(samples) - 1]
    assert len(kept[1:3]) == 2
    with pytest.raises(IndexError):
        kept[len(samples)]
    del kept, sample
    assert not list(tmp_path.iterdir())


def test_a_containers_memory_bounds_what_is_kept_there(samples, tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("atrous._resources.memory_limit", lambda: 4 * 3 * 40 * 50 * 2)  # a quarter: one photo's
    kept = NetworkSamples(Segmenter(tiny_model), samples)
    assert len(list(kept)) == len(samples)
    assert len(list(tmp_path.glob("*/*.npy"))) == len(samples) - 1


def test_large_photos_are_taken_at_the_size_that_the_network_sees(samples, tiny_model):
    segmenter = Segmenter(tiny_model, max_side=25)
    image, probabilities, mask, name = NetworkSamples(segmenter, samples)[0]
    assert image.shape == (20, 25, 3)
    assert probabilities.shape == (3, 20, 25)
    assert mask.shape == (20, 25)
    assert set(np.unique(mask)) == {0, 1, 255}
    assert name.endswith("photo0.jpg")


def test_a_model_is_told_by_its_contents(tiny_model, tmp_path):
    copy = tmp_path / "other.onnx"
    copy.write_bytes(tiny_model.read_bytes())
    assert model_sha256(copy) == model_sha256(tiny_model)
    (tmp_path / "state.json").write_text("{}")
    assert model_sha256(tmp_path) != model_sha256(copy)
    copy.write_bytes(copy.read_bytes() + b"x")
    assert model_sha256(copy) != model_sha256(tiny_model) != model_sha256(None)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three photos of 12x16 pixels with scores of three classes and masks."""
    for name in ("images", "scores", "masks"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(7)
    for i, name in enumerate(("a", "b", "c")):
        mask = np.zeros((12, 16), np.uint8)
        mask[4:, 5:] = 1 + i % 2
        mask[0] = 255
        scores = rng.uniform(0.1, 0.5, (3, 12, 16)).astype(np.float32)
        scores[np.minimum(mask, 2), *np.indices(mask.shape)] += 0.3
        scores /= scores.sum(axis=0)
        image = rng.integers(0, 60, (12, 16, 3), dtype=np.uint8) + 90 * np.minimum(mask, 2)[..., None]
        Image.fromarray(image).save(tmp_path / f"images/{name}.{'jpg' if i else 'png'}")
        Image.fromarray(mask).save(tmp_path / f"masks/{name}.png")
        if i == 2:
            np.savez_compressed(tmp_path / f"scores/{name}.npz", scores)
        else:
            np.save(tmp_path / f"scores/{name}.npy", scores)
    return tmp_path


def test_a_folder_of_scores(folder):
    samples = FolderSamples(folder)
    assert [Path(sample.name).name for sample in samples] == ["a.png", "b.jpg", "c.jpg"]
    assert all(sample.probabilities.shape == (3, 12, 16) for sample in samples)
    result = search(samples, weights=[3], sxys=[5, 10], srgbs=[20], **ONE_TRIAL)
    assert result.images == 3
    assert result.best.mean_iou > 0.5
    limited = FolderSamples(folder, limit=2)
    assert [Path(sample.name).name for sample in limited] == ["a.png", "b.jpg"]
    assert len(FolderSamples(folder, limit=9)) == 3


def remove(folder, path):
    (folder / path).unlink()


def write(folder, path, content):
    (folder / path).write_bytes(content)


def save(folder, path, *arrays):
    (np.save if path.endswith("npy") else np.savez)(folder / path, *arrays)


def zeroed(content):
    middle = len(content) // 2
    return content[:middle] + bytes(40) + content[middle + 40 :]


THIRDS = np.full((3, 12, 16), 1 / 3)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: remove(f, "scores/b.npy"), r"scores/b.npy: .*images/b.jpg"),
        (lambda f: remove(f, "masks/b.png"), "masks/b.png: no such file for .*images/b.jpg; add it"),
        (
            lambda f: [remove(f, f"images/{n}") for n in ("a.png", "b.jpg", "c.jpg")],
            "images: expected images",
        ),
        (lambda f: save(f, "scores/b.npy", THIRDS[:, :, 1:]), r"b.npy: .*\(C, 12, 16\).*\(3, 12, 15\)"),
        (lambda f: save(f, "scores/b.npy", THIRDS[:2]), "b.jpg: probabilities: expected 3 labels .* got 2"),
        (lambda f: save(f, "scores/b.npy", 9 * THIRDS), "b.jpg: probabilities: expected 0 to 1, got 3 to 3; .*softmax"),
        (lambda f: save(f, "scores/b.npy", np.array([{}])), "b.npy: expected an array"),
        (lambda f: save(f, "scores/c.npz", THIRDS, THIRDS), "c.npz: expected an archive of one array, got 2"),
        (lambda f: write(f, "scores/b.npy", b""), "b.npy: expected an array"),
        (lambda f: write(f, "scores/b.npy", b"\x93NUMPY\x01\x00junk"), "b.npy: expected an array"),
        (lambda f: write(f, "scores/c.npz", b"PK\x03\x04 cut"), "c.npz: expected an array"),
        (
            lambda f: write(f, "scores/b.npy", (f / "scores/b.npy").read_bytes()[:-9]),
            "b.npy: expected an array",
        ),
        (
            lambda f: write(f, "scores/c.npz", zeroed((f / "scores/c.npz").read_bytes())),
            "c.npz: expected an array",
        ),
        (
            lambda f: Image.new("L", (16, 12), 3).save(f / "masks/b.png"),
            "masks/b.png: expected ids .* id 3",
        ),
        (lambda f: Image.new("L", (15, 12)).save(f / "masks/b.png"), r"b.jpg: mask: .*\(12, 16\).*\(12, 15\)"),
        (lambda f: Image.new("RGB", (16, 12)).save(f / "masks/b.png"), "masks/b.png: expected label ids"),
        (lambda f: write(f, "images/b.jpg", b"no"), "images/b.jpg"),
        (lambda f: write(f, "images/b.png", b"no"), "images/b: .* got 2"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_line_that_names_the_file(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        search(FolderSamples(folder), weights=[3], sxys=[5], srgbs=[20], **ONE_TRIAL)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="no scores"):
        FolderSamples(tmp_path)


def test_void_of_masks_is_what_the_user_says(folder):
    Image.new("L", (16, 12), 7).save(folder / "masks/b.png")
    masks = [np.asarray(sample.mask) for sample in FolderSamples(folder, void=[7])]
    assert [(mask == 255).all() for mask in masks] == [False, True, False]


def test_masks_in_colors(folder):
    black_and_white = 255 * (np.arange(16) // 6 == 1).astype(np.uint8)[None].repeat(12, 0)
    Image.fromarray(black_and_white).save(folder / "masks/b.png")
    for name in ("a", "c"):
        Image.new("L", (16, 12)).save(folder / f"masks/{name}.png")
    (folder / "colors.txt").write_text("no 0 0 0\nyes 255 255 255\nred 255 0 0\n")
    assert FolderSamples(folder)[1].mask[0].tolist() == 6 * [0] + 6 * [1] + 4 * [0]

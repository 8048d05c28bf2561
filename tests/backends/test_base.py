"""What both engines for exported models do alike."""

import threading
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from atrous.backends import OnnxEngine, OpenVinoEngine, bundled_model_path
from atrous.backends import base as exported
from atrous.backends.base import read_exported
from atrous.errors import ComputeError, InputError
from tiny_model import TINY

without_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="openvino is not installed: pip install 'atrous[openvino]'"
)


@pytest.fixture(params=[OnnxEngine, pytest.param(OpenVinoEngine, marks=without_openvino)])
def engine_class(request):
    return request.param


def test_scores_lie_on_the_padded_stride_8_grid(engine_class, tiny_model):
    engine = engine_class(tiny_model, threads=1)
    image = np.zeros((40, 70, 3), np.uint8)
    image[:8, 8:] = 255, 0, 0
    scores = engine.scores(image)
    assert scores.shape == (3, 6, 10)  # 40 -> 41, 70 -> 73
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[:, 0, 1], [2, 5.1, -5.1], atol=1e-4)
    np.testing.assert_allclose(scores[:, 0, 0], [2, 0, 0], atol=1e-4)


def test_the_metadata_is_the_files(engine_class, tiny_model, tiny_metadata):
    assert engine_class(tiny_model).metadata == tiny_metadata


def test_one_pixel(engine_class, tiny_model):
    assert engine_class(tiny_model).scores(np.zeros((1, 1, 3), np.uint8)).shape == (3, 1, 1)


@pytest.mark.parametrize(("order", "red"), [("BGR", 0.02 * (200 - 30)), ("RGB", 0.02 * (30 - 200))])
def test_preparation_follows_the_metadata(engine_class, tmp_path, make_model, tiny_metadata, order, red):
    # The tiny network takes its first channel for blue and its last for red, whatever they are told to be.
    metadata = replace(tiny_metadata, mean=(0.0, 0.0, 0.0), color_order=order)
    engine = engine_class(make_model(tmp_path / "model.onnx", metadata=metadata.to_json()))
    scores = engine.scores(np.array([[[200, 10, 30]]], np.uint8))
    bias = 0.02 * (tiny_metadata.mean[2] - tiny_metadata.mean[0])
    np.testing.assert_allclose(scores[1], red + bias, rtol=1e-5)


def test_what_is_no_model_is_one_line(engine_class, tmp_path, make_model, tiny_metadata, capfd):
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "empty.onnx").touch()
    make_model(tmp_path / "bare.onnx", metadata=None)
    make_model(tmp_path / "odd.onnx", metadata="{")
    make_model(tmp_path / "other.onnx", metadata=tiny_metadata.to_json(), output="logits")
    for name, says in {
        "missing.onnx": "no such file",
        "text.onnx": "expected a model",
        "empty.onnx": "0 bytes",
        "bare.onnx": "metadata",
        "odd.onnx": "JSON",
        "other.onnx": "logits",
    }.items():
        with pytest.raises(InputError, match=says) as caught:
            engine_class(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_it_tells_what_it_is(engine_class, tiny_model):
    engine = engine_class(tiny_model)
    assert engine.name in ("onnxruntime", "openvino")
    assert (engine.device, engine.several) == ("cpu", True)
    assert repr(engine) == f"{engine_class.__name__}({str(tiny_model)!r}, device='cpu')"


@pytest.mark.parametrize("threads", [None, 1])
def test_several_threads_at_once(engine_class, tiny_model, threads):
    engine = engine_class(tiny_model, threads=threads)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in [(9, 70), (40, 70), (70, 40), (64, 64)] * 3]
    one_by_one = [engine.scores(image) for image in images]
    found = [None] * len(images)

    def work(first):
        for _ in range(5):
            for i in range(first, len(images), 4):
                found[i] = engine.scores(images[i])

    workers = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for scores, expected in zip(found, one_by_one, strict=True):
        np.testing.assert_array_equal(scores, expected)


def test_what_was_returned_stays_as_it_is(engine_class, tiny_model):
    engine = engine_class(tiny_model)
    gray, red = np.full((2, 33, 33, 3), 128, np.uint8)
    red[:] = 255, 0, 0
    first = engine.scores(gray)
    kept = first.copy()
    engine.scores(red)
    np.testing.assert_array_equal(first, kept)


def test_a_library_that_fails_on_a_photo_is_one_line(engine_class, tiny_model, monkeypatch):
    def full(self, blob):
        raise RuntimeError("\n  Failed to allocate memory for requested buffer of size 5\nwhere: allocator.cc")

    engine = engine_class(tiny_model)
    monkeypatch.setattr(engine_class, "_forward", full)
    with pytest.raises(ComputeError) as caught:
        engine.scores(np.zeros((20, 30, 3), np.uint8))
    assert str(caught.value) == (
        "the network failed on 20x30 pixels, on cpu (Failed to allocate memory for requested buffer of size 5);"
        " try a smaller max_side"
    )


def test_the_bundled_model_passes_every_check():
    # Which an engine leaves out for this one file.
    try:
        path = bundled_model_path()
    except InputError as error:
        pytest.skip(str(error))
    assert read_exported(path) == read_exported(path, whole=False)


def test_a_copy_of_the_bundled_model_is_checked(engine_class, tmp_path, make_model, monkeypatch):
    checked = []
    monkeypatch.setattr(exported, "_check_graph", lambda path, *_: checked.append(path))
    bundled, other = (make_model(tmp_path / f"{name}.onnx", metadata=TINY.to_json()) for name in ("bundled", "other"))
    monkeypatch.setattr(exported, "_bundled", lambda: bundled)
    for path in (bundled, other):
        engine_class(path)
    assert checked == [other]


@pytest.mark.parametrize("change", [{"output_stride": 1}, {"classes": ("a", "b"), "palette": ((0, 0, 0),) * 2}])
def test_scores_of_another_shape_than_the_metadata_says(engine_class, tiny_model, tiny_metadata, change):
    engine = engine_class(tiny_model)
    engine.metadata = replace(tiny_metadata, **change)
    with pytest.raises(InputError, match=rf"{tiny_model.name}: expected scores of shape"):
        engine.scores(np.zeros((40, 70, 3), np.uint8))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_the_models_fault(engine_class, tiny_model, monkeypatch, bad):
    engine = engine_class(tiny_model)
    scores = np.zeros((1, 3, 6, 10), np.float32)
    scores[0, 2, 5, 9] = bad
    monkeypatch.setattr(engine_class, "_forward", lambda self, blob: scores)
    with pytest.raises(InputError, match=rf"{tiny_model.name}: expected finite scores"):
        engine.scores(np.zeros((40, 70, 3), np.uint8))

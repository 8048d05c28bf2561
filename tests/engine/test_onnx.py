from dataclasses import replace

import numpy as np
import pytest

from atrous.engine import OnnxEngine
from atrous.errors import InputError


def test_scores_lie_on_the_padded_stride_8_grid(tiny_model):
    engine = OnnxEngine(tiny_model, threads=1)
    image = np.zeros((40, 70, 3), np.uint8)
    image[:8, 8:] = 255, 0, 0
    scores = engine.scores(image)
    assert scores.shape == (3, 9, 13)  # 40 -> 65, 70 -> 97
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[:, 0, 1], [2, 5.1, -5.1], atol=1e-4)
    np.testing.assert_allclose(scores[:, 0, 0], [2, 0, 0], atol=1e-4)


def test_the_metadata_is_the_files(tiny_model, tiny_metadata):
    assert OnnxEngine(tiny_model).metadata == tiny_metadata


def test_one_pixel(tiny_model):
    assert OnnxEngine(tiny_model).scores(np.zeros((1, 1, 3), np.uint8)).shape == (3, 1, 1)


@pytest.mark.parametrize(("order", "red"), [("BGR", 0.02 * (200 - 30)), ("RGB", 0.02 * (30 - 200))])
def test_preparation_follows_the_metadata(tmp_path, make_model, tiny_metadata, order, red):
    # The tiny network takes its first channel for blue and its last for red, whatever they are told to be.
    metadata = replace(tiny_metadata, mean=(0.0, 0.0, 0.0), colour_order=order)
    engine = OnnxEngine(make_model(tmp_path / "model.onnx", metadata=metadata.to_json()))
    scores = engine.scores(np.array([[[200, 10, 30]]], np.uint8))
    bias = 0.02 * (tiny_metadata.mean[2] - tiny_metadata.mean[0])
    np.testing.assert_allclose(scores[1], red + bias, rtol=1e-5)


def test_what_is_no_model_is_one_line(tmp_path, make_model, tiny_metadata):
    (tmp_path / "text.onnx").write_text("no model")
    make_model(tmp_path / "bare.onnx", metadata=None)
    make_model(tmp_path / "odd.onnx", metadata="{")
    make_model(tmp_path / "other.onnx", metadata=tiny_metadata.to_json(), output="logits")
    for name, says in {
        "missing.onnx": "no such file",
        "text.onnx": "ONNX Runtime",
        "bare.onnx": "metadata",
        "odd.onnx": "JSON",
        "other.onnx": "logits",
    }.items():
        with pytest.raises(InputError, match=says) as caught:
            OnnxEngine(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)

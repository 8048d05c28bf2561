import json
from dataclasses import replace

import numpy as np
import pytest

from atrous.data.metadata import VOC_CLASSES, CrfParameters, ModelMetadata
from atrous.errors import InputError


def test_round_trip(tiny_metadata):
    assert ModelMetadata.from_json(tiny_metadata.to_json(), "m.onnx") == tiny_metadata


def test_vocs_classes():
    assert len(VOC_CLASSES) == 21
    assert VOC_CLASSES[8] == "cat"
    assert VOC_CLASSES[15] == "person"


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"format": 2},
        {"classes": 5},
        {"classes": ["only one"]},
        {"palette": [[1, 2], [3, 4], [5, 6]]},
        {"mean": [1, 2]},
        {"precision": "int4"},
        {"output_stride": "8"},
        {"crf": {}},
        {"crf": 3},
        {"crf": {"weight": "4", "sxy": 1, "srgb": 1}},
        {"crf": {"weight": 4, "sxy": 1, "srgb": 1, "normalization": "odd"}},
    ],
)
def test_what_cannot_be_right_is_one_line(tiny_metadata, change):
    values = json.loads(tiny_metadata.to_json()) | change
    with pytest.raises(InputError, match=r"^m\.onnx: ") as caught:
        ModelMetadata.from_json(json.dumps(values), "m.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "[" * 100_000, "1e999", '"text"'])
def test_no_metadata(text):
    with pytest.raises(InputError, match=r"^m\.onnx: "):
        ModelMetadata.from_json(text, "m.onnx")


def test_a_missing_key(tiny_metadata):
    values = json.loads(tiny_metadata.to_json())
    del values["training_list"]
    with pytest.raises(InputError, match="training_list"):
        ModelMetadata.from_json(json.dumps(values), "m.onnx")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"classes": ("a",), "palette": ((0, 0, 0),)}, "classes"),
        ({"classes": tuple(map(str, range(256))), "palette": ((0, 0, 0),) * 256}, "classes"),
        ({"classes": ("a", "b", "a")}, "twice"),
        ({"classes": ("a", "b", "c" * 201)}, "classes"),
        ({"classes": ["a", "b", "c"]}, "classes"),
        ({"palette": ((0, 0, 0),) * 2}, "palette"),
        ({"palette": ((0, 0, 256),) * 3}, "palette"),
        ({"palette": ((0, 0, True),) * 3}, "palette"),
        ({"mean": (0.0, 0.0, float("nan"))}, "mean"),
        ({"mean": (0.0, 0.0, 256.0)}, "mean"),
        ({"output_stride": 16}, "output_stride"),
        ({"crf": None}, "crf"),
        ({"variant": 1}, "variant"),
        ({"notes": "x" * 100_001}, "notes"),
    ],
)
def test_what_cannot_be_right_cannot_be_made(tiny_metadata, change, match):
    with pytest.raises(InputError, match=f"^{match}|{match}"):
        replace(tiny_metadata, **change)


def test_as_many_classes_as_there_are_ids(tiny_metadata):
    names = tuple(f"class {i}" for i in range(255))
    whole = replace(tiny_metadata, classes=names, palette=((0, 128, 255),) * 255)
    assert ModelMetadata.from_json(whole.to_json(), "m.onnx") == whole


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"weight": -1}, "weight"),
        ({"weight": float("nan")}, "weight"),
        ({"weight": 10**400}, "weight"),
        ({"spatial_weight": "3"}, "spatial_weight"),
        ({"sxy": 0}, "sxy"),
        ({"sxy": True}, "sxy"),
        ({"srgb": float("inf")}, "srgb"),
        ({"spatial_sxy": 1e7}, "spatial_sxy"),
        ({"iterations": 1001}, "iterations"),
        ({"iterations": -1}, "iterations"),
        ({"iterations": 1.0}, "iterations"),
        ({"normalization": "odd"}, "normalization"),
    ],
)
def test_parameters_of_the_crf(change, match):
    with pytest.raises(InputError, match=f"^{match}: expected"):
        CrfParameters(**{"weight": 4, "sxy": 60, "srgb": 5, **change})


def test_the_ends_of_their_ranges():
    CrfParameters(weight=0, sxy=0.01, srgb=1e6, spatial_weight=1e6, spatial_sxy=np.float32(3), iterations=0)
    CrfParameters(weight=np.float64(4), sxy=1, srgb=1, iterations=np.int64(1000))


def test_parameters_in_a_file(tmp_path):
    path = tmp_path / "crf.json"
    path.write_text('{"weight": 5, "sxy": 77, "srgb": 3.5}')
    assert CrfParameters.read(path) == CrfParameters(weight=5, sxy=77, srgb=3.5)
    for text, match in {
        "": "not JSON",
        "[]": "another JSON",
        '{"weight": 5, "sxy": 77}': "srgb",
        '{"weight": 5, "sxy": 77, "srgb": 3, "steps": 5}': "steps",
        '{"weight": 5, "sxy": NaN, "srgb": 3}': "sxy",
        "[" * 100_000: "deep",
    }.items():
        path.write_text(text)
        with pytest.raises(InputError, match=rf"crf\.json: .*{match}") as caught:
            CrfParameters.read(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("stride", "shape"), [(8, (3, 13, 17)), (4, (3, 25, 33)), (1, (3, 97, 129))])
def test_scores_are_as_promised(tiny_metadata, stride, shape):
    metadata = replace(tiny_metadata, output_stride=stride)
    assert metadata.scores_shape(97, 129) == shape
    good = np.zeros(shape, np.float32)
    metadata.check_scores(good, (97, 129), "m.onnx")
    infinite = good.copy()
    infinite[1, 2, 3] = np.inf
    for bad, match in {
        "channels": (good[:2], "shape"),
        "rows": (good[:, 1:], "shape"),
        "columns": (good[..., 1:], "shape"),
        "rank": (good[None], "shape"),
        "type": (good.astype(np.float64), "float64"),
        "nan": (good + np.float32(np.nan), "NaN"),
        "infinity": (infinite, "NaN or infinity"),
    }.values():
        with pytest.raises(InputError, match=rf"^m\.onnx: .*{match}"):
            metadata.check_scores(bad, (97, 129), "m.onnx")


def test_the_older_spelling_of_the_color_order_is_read(tiny_metadata):
    text = tiny_metadata.to_json()
    assert '"color_order": "BGR"' in text
    older = text.replace('"color_order": "BGR"', '"colour_order": "RGB"')
    assert ModelMetadata.from_json(older, "model.onnx").color_order == "RGB"

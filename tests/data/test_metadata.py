import json

import pytest

from atrous.data.metadata import VOC_CLASSES, ModelMetadata
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


@pytest.mark.parametrize("text", ["", "[]", "null", "{}"])
def test_no_metadata(text):
    with pytest.raises(InputError, match=r"^m\.onnx: "):
        ModelMetadata.from_json(text, "m.onnx")


def test_a_missing_key(tiny_metadata):
    values = json.loads(tiny_metadata.to_json())
    del values["training_list"]
    with pytest.raises(InputError, match="training_list"):
        ModelMetadata.from_json(json.dumps(values), "m.onnx")

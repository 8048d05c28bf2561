"""The model that ships, on the photos that ship."""

from pathlib import Path

import numpy as np
import pytest

from atrous.data.metadata import VOC_CLASSES
from atrous.segmenter import Segmenter

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter()


def test_the_file_says_what_it_is(segmenter):
    metadata = segmenter.engine.metadata
    assert metadata.variant == "deeplab-largefov"
    assert metadata.classes == VOC_CLASSES
    assert metadata.palette[15] == (192, 128, 128)
    assert metadata.precision == "int8"
    assert metadata.training_list == "train_aug"
    assert len(metadata.training_list_sha256) == 64
    assert "PASCAL VOC" in metadata.notes
    assert segmenter.engine.path.stat().st_size < 22e6


@pytest.mark.parametrize(("photo", "seen"), [("cat", "cat"), ("astronaut", "person"), ("photographer", "person")])
def test_it_sees_what_is_in_the_examples(segmenter, photo, seen):
    result = segmenter(EXAMPLES / f"{photo}.jpg")
    assert result.labels.shape == result.image.shape[:2]
    assert result.shares()[seen] > 0.1
    # nothing else of note beside it and the background
    assert sum(share for name, share in result.shares().items() if name not in (seen, "background")) < 0.1


def test_it_finds_the_middle_of_the_cats_face(segmenter):
    result = segmenter(EXAMPLES / "cat.jpg")
    height, width = result.labels.shape
    middle = result.labels[height // 3 : -height // 3, width // 4 : width // 2]
    assert np.mean(middle == VOC_CLASSES.index("cat")) > 0.95


@pytest.mark.parametrize("photo", ["cat", "astronaut", "photographer"])
def test_leaving_out_improbable_classes_moves_next_to_no_label(segmenter, photo, monkeypatch):
    pruned = segmenter(EXAMPLES / f"{photo}.jpg")
    monkeypatch.setattr("atrous.crf.pruning.NEGLIGIBLE", 0)
    whole = segmenter(EXAMPLES / f"{photo}.jpg")
    assert len(pruned.kept) < len(whole.kept) == 21
    assert np.mean(pruned.labels != whole.labels) < 0.001

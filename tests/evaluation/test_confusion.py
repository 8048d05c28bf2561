from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.errors import InputError
from atrous.evaluation.confusion import ConfusionMatrix

DATA = Path(__file__).parents[3] / "shared" / "data"


def test_counts_by_eye():
    truth = np.array([[0, 0, 1], [1, 1, 255]], np.uint8)
    predicted = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
    matrix = ConfusionMatrix(3)
    matrix.add(truth, predicted)
    np.testing.assert_array_equal(matrix.counts, [[1, 1, 0], [1, 2, 0], [0, 0, 0]])
    np.testing.assert_allclose(matrix.iou(), [1 / 3, 2 / 4, np.nan])
    assert matrix.mean_iou() == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert matrix.pixel_accuracy() == pytest.approx(3 / 5)


def test_the_mean_is_taken_once_over_the_whole_set():
    # image by image the IoU of class 1 would be (1 + 0) / 2; pooled it is 2 / 3
    matrix = ConfusionMatrix(2)
    matrix.add(np.array([[1, 1]], np.uint8), np.array([[1, 1]], np.uint8))
    matrix.add(np.array([[1, 0]], np.uint8), np.array([[0, 0]], np.uint8))
    assert matrix.iou()[1] == pytest.approx(2 / 3)


def test_mistakes_are_named():
    matrix = ConfusionMatrix(2)
    with pytest.raises(InputError, match=r"\(1, 2\).*\(2, 1\)"):
        matrix.add(np.zeros((2, 1), np.uint8), np.zeros((1, 2), np.uint8))
    with pytest.raises(InputError, match="predicted labels hold the id 7"):
        matrix.add(np.zeros((1, 1), np.uint8), np.full((1, 1), 7, np.uint8))


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the label maps in shared/data/paper_figures")
@pytest.mark.parametrize(("maps", "pixel_accuracy", "mean_iou"), [("res_none", 88.8, 50.8), ("res_crf", 91.8, 62.0)])
def test_scores_of_the_authors_own_label_maps(maps, pixel_accuracy, mean_iou):
    matrix = ConfusionMatrix(21)
    files = sorted((DATA / "paper_figures" / maps).glob("*.png"))
    assert len(files) == 25
    for file in files:
        truth = np.asarray(Image.open(DATA / "voc12" / "SegmentationClassAug" / file.name))
        matrix.add(truth, np.asarray(Image.open(file)))
    assert round(100 * matrix.pixel_accuracy(), 1) == pixel_accuracy
    assert round(100 * matrix.mean_iou(), 1) == mean_iou

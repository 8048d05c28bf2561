import numpy as np
import pytest

from atrous.data.metadata import CrfParameters, ModelMetadata
from atrous.data.voc import read_list
from atrous.evaluation.evaluate import evaluate
from atrous.segmenter import Segmenter


class ColourEngine:
    """A "network" that knows: red pixels are class 1, blue ones class 2."""

    metadata = ModelMetadata(
        variant="deeplab-largefov",
        classes=("background", "red", "blue"),
        palette=((0, 0, 0), (128, 0, 0), (0, 128, 0)),
        mean=(0.0, 0.0, 0.0),
        crf=CrfParameters(weight=3, sxy=20, srgb=30),
        training_list="none",
        training_list_sha256="",
        precision="float32",
    )

    def scores(self, image):
        cells = image[::8, ::8].astype(np.float32)
        red, _, blue = np.moveaxis(cells, 2, 0)
        scores = np.stack([np.full_like(red, 100), red, blue]) / 25
        pad = [-(-(n + 31) // 32) * 4 - 3 for n in image.shape[:2]]
        return np.pad(scores, ((0, 0), *((0, p - n) for p, n in zip(pad, red.shape, strict=True))), "edge")


@pytest.fixture
def samples(tiny_voc):
    return read_list(tiny_voc, "train").samples


def test_a_knowing_network_scores_high_and_the_crf_helps_at_the_edges(samples):
    result = evaluate(Segmenter(ColourEngine()), samples)
    assert result.images == 6
    assert result.dcnn.counts.sum() == result.crf.counts.sum() == 6 * (40 * 50 - 2 * 20)
    assert result.dcnn.mean_iou() > 0.7
    assert result.crf.mean_iou() > result.dcnn.mean_iou()


def test_without_a_crf_one_matrix_is_filled(samples):
    told = []
    result = evaluate(Segmenter(ColourEngine(), crf=None), samples[:2], done=told.append)
    assert result.crf is None
    assert told == [1, 2]

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from atrous.backends import OnnxEngine
from atrous.data.samples import Sample
from atrous.errors import InputError
from atrous.evaluation.export_check import TOLERANCES, Agreement, Parity, Tolerance, compare, generated_image
from atrous.evaluation.metrics import ConfusionMatrix
from atrous.evaluation.text_report import parity_json, parity_table
from atrous.labelmap import write_labels
from atrous.segmenter import Segmenter

SIZES = ((1, 1), (40, 33))


class Off:
    """An engine whose scores of class 1 are higher than another's."""

    def __init__(self, engine, by):
        self.engine, self.by, self.metadata = engine, by, engine.metadata

    def scores(self, image):
        return self.engine.scores(image) + np.float32([0, self.by, 0])[:, None, None]


@pytest.fixture
def engine(tiny_model):
    return OnnxEngine(tiny_model, threads=1)


@pytest.fixture
def samples(tmp_path, red_square):
    truth = np.zeros((64, 96), np.uint8)
    truth[16:48, 24:72] = 1
    Image.fromarray(red_square).save(tmp_path / "photo.png")
    write_labels(tmp_path / "mask.png", truth)
    return [Sample("photo", tmp_path / "photo.png", tmp_path / "mask.png")]


def test_a_network_agrees_with_itself(engine, samples):
    parity = compare(Segmenter(engine), Segmenter(engine), samples, sizes=SIZES)
    assert (parity.difference, parity.others, parity.crf_others, parity.masks) == (0, 0, 0, 1)
    assert [(row.height, row.width, row.pixels) for row in parity.sizes] == [(1, 1, 1), (40, 33, 6 * 5)]
    assert parity.images[0].pixels == 64 * 96
    for before, after in parity.mean_iou().values():
        assert before == after > 0.5
    assert parity.faults(Tolerance(0, 0, 0)) == []


def test_differences_are_measured_and_named(engine, samples):
    # 2 more for red than for the background's 2: a tie, then red, wherever nothing is blue
    parity = compare(Segmenter(engine), Segmenter(Off(engine, 4.5)), samples, sizes=SIZES)
    assert parity.difference == pytest.approx(4.5)
    largest = abs(engine.scores(np.asarray(Image.open(samples[0].image)))).max()
    assert parity.relative_difference == pytest.approx(4.5 / largest, rel=1e-4)
    assert parity.others == pytest.approx(0.75, abs=0.1)  # all that was background
    assert parity.crf_others == pytest.approx(0.75, abs=0.1)
    before, after = parity.mean_iou()["with CRF"]
    assert before - after > 0.4
    faults = parity.faults(TOLERANCES["int8"])
    assert len(faults) == 5
    assert faults[0].startswith("scores differ by up to")
    assert "without the CRF" in faults[1]
    assert "mean IoU (with CRF) falls by" in faults[4]
    assert parity.faults(Tolerance(scores=9, labels=1, miou=1)) == []


def test_a_better_mean_iou_is_no_fault(engine, samples):
    parity = compare(Segmenter(Off(engine, 4.5)), Segmenter(engine), samples, sizes=SIZES)
    assert not any("mean IoU" in fault for fault in parity.faults(TOLERANCES["float32"]))


def test_mean_iou_that_one_photo_loses_is_no_fault():
    def parity(losses):
        """Of photos with 100 and 1,000 pixels of two classes, all right before, some of the first lost."""
        pairs = [[ConfusionMatrix(np.array([[100 - n, n], [0, 1000]])) for n in (0, lost)] for lost in losses]
        overlaps = [np.array([matrix.overlaps() for matrix in pair]) for pair in pairs]
        whole = tuple(ConfusionMatrix(sum(matrix.counts for matrix in column)) for column in zip(*pairs, strict=True))
        same = Agreement("photo", 11, 100, 0.0, 1.0, 1100, 0)
        return Parity([], [same], len(losses), {"network alone": whole}, {"network alone": overlaps})

    tolerance = Tolerance(scores=0, labels=0, miou=0.03)
    assert parity([0] * 7 + [60]).faults(tolerance) == []
    assert "not significant)" in parity_table(parity([0] * 7 + [60]), tolerance, "of val")
    assert parity([2] * 8).faults(tolerance) == []
    assert "tolerance 3)" in parity_table(parity([2] * 8), tolerance, "of val")
    (fault,) = parity([8] * 8).faults(tolerance)
    assert fault.startswith("mean IoU (network alone) falls by")
    assert parity([60]).faults(tolerance)


def test_scores_that_are_no_numbers_are_a_fault(engine):
    parity = compare(Segmenter(engine), Segmenter(Off(engine, np.nan)), sizes=SIZES)
    (fault,) = parity.faults(TOLERANCES["int8"])
    assert "scores differ by up to nan" in fault
    report = json.loads(parity_json({}, parity, TOLERANCES["int8"], "a generated image"))
    assert report["score_difference"] is None


def test_activations_beyond_half_precision_are_a_fault(engine):
    parity = compare(Segmenter(engine), Segmenter(engine), sizes=SIZES)
    parity.largest_activation = 65504.0
    assert parity.faults(TOLERANCES["float16"]) == []
    for largest in (65505.0, float("inf"), float("nan")):
        parity.largest_activation = largest
        assert "limit of 65,504" in parity.faults(TOLERANCES["float16"])[0]


def test_mere_photos_and_no_crf(engine, samples):
    photos = [replace(samples[0], label=None)]
    done = []
    parity = compare(
        Segmenter(engine, crf=None, max_side=48), Segmenter(engine, crf=None), photos, sizes=(), done=done.append
    )
    assert (parity.images[0].height, parity.images[0].width) == (32, 48)  # as large as the network sees it
    assert parity.crf_others is None
    assert parity.mean_iou() == {}
    assert done == [1]


def test_another_grid_is_refused(engine, tmp_path, make_model, tiny_metadata):
    class Coarse(Off):
        def scores(self, image):
            return self.engine.scores(image)[:, ::2]

    with pytest.raises(InputError, match="scores of shape"):
        compare(Segmenter(engine), Segmenter(Coarse(engine, 0)), sizes=SIZES)


def test_the_table_and_the_file(engine, samples):
    parity = compare(Segmenter(engine), Segmenter(Off(engine, 0.5)), samples, sizes=SIZES)
    table = parity_table(parity, TOLERANCES["int8"], "of val")
    lines = table.splitlines()
    assert lines[0].split("  ")[-1].strip() == "with CRF"
    assert lines[1].startswith("1 x 1 ")
    assert lines[3].startswith("1 image of val ")
    assert lines[4].startswith("tolerance ")
    assert "mean IoU, with CRF:" in table
    assert all(line == line.rstrip() for line in lines)
    report = json.loads(parity_json({"model": "m.onnx"}, parity, TOLERANCES["int8"], "of val"))
    assert report["model"] == "m.onnx"
    assert report["compared_on"] == "1 image of val"
    assert report["score_difference"] == pytest.approx(0.5)
    assert report["tolerance"] == {"scores": 0.3, "labels": 0.05, "miou": 0.03}
    assert [row["name"] for row in report["photos"]] == ["photo"]
    assert report["versions"]["onnxruntime"]


def test_the_generated_image_is_always_the_same_and_has_detail():
    picture = generated_image()
    assert picture.shape == (385, 513, 3)
    assert np.array_equal(picture, generated_image())
    assert picture.std() > 20

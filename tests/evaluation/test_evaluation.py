import dataclasses

import numpy as np
import pytest
from PIL import Image

from atrous.data.samples import Sample, read_pair
from atrous.errors import InputError
from atrous.evaluation.evaluator import evaluate
from atrous.evaluation.metrics import ConfusionMatrix
from atrous.evaluation.trimap import band
from atrous.image_io.decode import read_image
from atrous.segmenter import Segmenter


def same(one, other):
    assert one.rows == other.rows
    for name in one.labelings:
        np.testing.assert_array_equal(one.counts[name], other.counts[name])
    assert one.steps.keys() == other.steps.keys()
    for steps in one.steps:
        np.testing.assert_array_equal(one.steps[steps], other.steps[steps])


def test_a_knowing_network_scores_high_and_the_crf_helps_at_the_edges(engine, samples):
    result = evaluate(Segmenter(engine), samples)
    assert result.images == 6
    assert result.dcnn.counts.sum() == result.crf.counts.sum() == 6 * (40 * 50 - 2 * 20)
    assert result.dcnn.mean_iou() > 0.7
    assert result.crf.mean_iou() > result.dcnn.mean_iou()


def test_without_a_crf_one_matrix_is_filled(engine, samples):
    told = []
    result = evaluate(Segmenter(engine, crf=None), samples[:2], done=told.append)
    assert result.crf is None
    assert result.labelings == ("network alone",)
    assert told == [1, 2]


def test_the_labels_are_those_of_the_segmenter(engine, samples):
    segmenter = Segmenter(engine)
    dcnn, crf = ConfusionMatrix(3), ConfusionMatrix(3)
    for sample in samples:
        result = segmenter(sample.image)
        _, truth = read_pair(sample)
        dcnn.add(truth, segmenter.probabilities(read_image(sample.image)).argmax(axis=0).astype(np.uint8))
        crf.add(truth, result.labels)
    scored = evaluate(segmenter, samples)
    np.testing.assert_array_equal(scored.dcnn.counts, dcnn.counts)
    np.testing.assert_array_equal(scored.crf.counts, crf.counts)


@pytest.mark.parametrize("workers", [2, 5])
def test_the_same_for_any_number_of_workers(engine, samples, workers):
    segmenter = Segmenter(engine, threads=1)
    told = []
    options = {"trimap": (1, 3), "mean_field_steps": (0, 2)}
    result = evaluate(segmenter, samples, workers=workers, done=told.append, **options)
    same(result, evaluate(segmenter, samples, **options))
    assert told == [1, 2, 3, 4, 5, 6]


def test_bands_along_the_outlines(engine, samples):
    segmenter = Segmenter(engine)
    result = evaluate(segmenter, samples, trimap=(2, 5))
    for width, matrix in result.trimap("with CRF").items():
        expected = ConfusionMatrix(3)
        for sample in samples:
            _, truth = read_pair(sample)
            inside = np.where(band(truth, width), truth, 255).astype(np.uint8)
            expected.add(inside, segmenter(sample.image).labels)
        np.testing.assert_array_equal(matrix.counts, expected.counts)
    np.testing.assert_array_equal(result.crf.counts, evaluate(segmenter, samples).crf.counts)
    assert result.without_void == 0


def test_images_without_void_have_no_band(engine, samples, tmp_path):
    with Image.open(samples[0].label) as labels:
        ids = np.array(labels)
    ids[ids == 255] = 0
    Image.fromarray(ids).save(tmp_path / "plain.png")
    plain = dataclasses.replace(samples[0], label=tmp_path / "plain.png")
    segmenter = Segmenter(engine, crf=None)
    mixed = evaluate(segmenter, [plain, samples[1]], trimap=(2,))
    assert mixed.without_void == 1
    alone = evaluate(segmenter, [samples[1]], trimap=(2,))
    np.testing.assert_array_equal(mixed.trimap("network alone")[2].counts, alone.trimap("network alone")[2].counts)
    assert evaluate(segmenter, [plain], trimap=(2,)).trimap("network alone") == {}


def test_mean_field_steps(engine, samples):
    steps = evaluate(Segmenter(engine), samples, mean_field_steps=(10, 0, 3)).by_steps()
    whole = evaluate(Segmenter(engine), samples)
    assert list(steps) == [0, 3, 10]
    np.testing.assert_array_equal(steps[0].counts, whole.dcnn.counts)
    np.testing.assert_array_equal(steps[10].counts, whole.crf.counts)
    three = dataclasses.replace(engine.metadata.crf, iterations=3)
    np.testing.assert_array_equal(steps[3].counts, evaluate(Segmenter(engine, crf=three), samples).crf.counts)


def test_each_image_by_itself(engine, samples):
    result = evaluate(Segmenter(engine), samples)
    assert [row.name for row in result.rows] == [sample.name for sample in samples]
    one = evaluate(Segmenter(engine), samples[3:4])
    assert result.rows[3].mean_iou == {"network alone": one.dcnn.mean_iou(), "with CRF": one.crf.mean_iou()}
    assert result.rows[3].pixel_accuracy["network alone"] == one.dcnn.pixel_accuracy()
    assert (result.rows[3].labeled, result.rows[3].void) == (40 * 50 - 40, 40)


def test_mistakes_are_named(engine, samples, tmp_path):
    segmenter = Segmenter(engine, crf=None)
    with pytest.raises(InputError, match="workers: .* got 0"):
        evaluate(segmenter, samples, workers=0)
    with pytest.raises(InputError, match="mean_field_steps"):
        evaluate(segmenter, samples, mean_field_steps=(1,))
    with pytest.raises(InputError, match="trimap: expected half-widths"):
        evaluate(segmenter, samples, trimap=(0, 1))
    with pytest.raises(InputError, match="expected a label map"):
        evaluate(segmenter, [Sample("a", samples[0].image, None)])
    Image.fromarray(np.full((40, 50), 7, np.uint8)).save(tmp_path / "seven.png")
    with pytest.raises(InputError, match="seven.png: .*id 7"):
        evaluate(segmenter, [*samples, Sample("b", samples[0].image, tmp_path / "seven.png")], workers=2)

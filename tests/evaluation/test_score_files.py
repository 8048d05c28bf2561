import csv
import io
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from atrous._provenance import machine
from atrous.data.dataset import open_dataset
from atrous.errors import InputError
from atrous.evaluation.evaluator import evaluate
from atrous.evaluation.run_info import RunInfo, official_size
from atrous.evaluation.text_report import as_csv, as_json, write_text
from atrous.segmenter import Segmenter


@pytest.fixture
def run():
    return RunInfo("data", "val", "0" * 64, 305, 1449, {"model": "mine"}, (), "2026-01-02T03:04:05+00:00", 2.0, 1, 1, 1)


def test_json_holds_all_numbers(engine, samples, run):
    result = evaluate(Segmenter(engine), samples[::2], trimap=(1, 2), mean_field_steps=(0, 1))
    document = json.loads(as_json(result, run))
    assert document["images"] == 3
    assert document["run"]["listed"] == "val"
    crf = document["labelings"]["with CRF"]
    assert crf["mean IoU"] == result.crf.mean_iou()
    assert crf["confusion"] == result.crf.counts.tolist()
    # Every other image, so class 2 is nowhere: neither an IoU nor a number that JSON does not have.
    iou = result.crf.iou()
    assert crf["IoU"] == {"background": iou[0], "red": iou[1], "blue": None}
    assert np.isnan(iou[2])
    assert crf["recall"]["blue"] is None
    band = result.trimap("with CRF")[2]
    assert crf["trimap"]["2"]["pixels"] == band.counts.sum()
    assert crf["trimap"]["2"]["pixel accuracy"] == band.pixel_accuracy()
    assert document["mean_field_steps"]["0"].items() <= document["labelings"]["network alone"].items()
    assert document["mean_field_steps"].keys() == {"0", "1"}
    assert [row["name"] for row in document["per_image"]] == ["photo0", "photo2", "photo4"]


def test_csv_has_a_line_an_image(engine, samples):
    result = evaluate(Segmenter(engine), samples)
    rows = list(csv.DictReader(io.StringIO(as_csv(result))))
    assert [row["name"] for row in rows] == [sample.name for sample in samples]
    for row, scores in zip(rows, result.rows, strict=True):
        assert float(row["with CRF mean IoU"]) == pytest.approx(scores.mean_iou["with CRF"], abs=1e-6)
        assert (row["labeled pixels"], row["void pixels"]) == ("1960", "40")


def test_a_part_is_not_called_the_whole(run):
    assert run.scope(305) == "305 images of val, a part of VOC's 1,449"
    assert run.scope(10) == "10 of the 305 images of val, a part of VOC's 1,449"


def test_the_size_of_voc_is_that_of_its_list_files(tiny_voc, tmp_path):
    voc = open_dataset(shutil.copytree(tiny_voc, tmp_path / "voc"))
    lists = voc.root / "ImageSets/Segmentation"
    for name in ("val.txt", "mine.txt"):
        (lists / name).write_text("photo0\n")
    assert (official_size("val", voc), official_size("mine", voc)) == (1449, None)
    assert official_size("val", replace(voc, classes=("background", "cat"))) is None
    shutil.rmtree(lists)  # a split by a hash of the names
    assert official_size("val", voc) is None


def test_the_machine_is_named():
    assert "core" in machine()


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(InputError, match="nowhere.*cannot be written"):
        write_text(tmp_path / "nowhere" / "scores.json", "{}")


def test_file_names_that_are_no_text_can_be_written(tmp_path):
    write_text(tmp_path / "images.csv", os.fsdecode(b"name\ncaf\xe9\n"))
    assert (tmp_path / "images.csv").read_bytes() == b"name\ncaf\xe9\n"

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atrous.data.folder_dataset import read_list
from atrous.data.metadata import VOC_CLASSES
from atrous.errors import InputError
from atrous.evaluation.evaluator import score
from atrous.evaluation.predictors import FolderLabeler, with_maps
from atrous.evaluation.trimap import WIDTHS
from atrous.labelmap import write_labels

DATA = Path(__file__).parents[3] / "shared" / "data"
CLASSES = ("background", "red", "blue")


@pytest.fixture
def listed(tiny_voc):
    return read_list(tiny_voc, "train")


def write(folder, name, labels):
    folder.mkdir(exist_ok=True)
    Image.fromarray(labels).save(folder / f"{name}.png")


def test_the_truth_scores_full_marks_and_nothing_scores_low(listed, tmp_path):
    for sample in listed.samples:
        with Image.open(sample.label) as image:
            truth = np.array(image)
        write(tmp_path / "right", sample.name, np.where(truth == 255, 0, truth))
        write(tmp_path / "none", sample.name, np.zeros_like(truth))
    labeler = FolderLabeler([tmp_path / "right", tmp_path / "none"], CLASSES)
    result = score(labeler, with_maps(listed, [tmp_path / "right"]).samples, trimap=WIDTHS)
    assert result.labelings == ("right", "none")
    assert result.confusion("right").mean_iou() == 1
    assert all(matrix.mean_iou() == 1 for matrix in result.trimap("right").values())
    background = result.confusion("none").recall()
    np.testing.assert_array_equal(background, [1, 0, 0])


def test_only_images_with_a_map_in_each_folder_are_scored(listed, tmp_path):
    plain = np.zeros((40, 50), np.uint8)
    for name in ("photo1", "photo4"):
        write(tmp_path / "a", name, plain)
    write(tmp_path / "b", "photo4", plain)
    assert [s.name for s in with_maps(listed, [tmp_path / "a"]).samples] == ["photo1", "photo4"]
    assert [s.name for s in with_maps(listed, [tmp_path / "a", tmp_path / "b"]).samples] == ["photo4"]


def test_folders_of_one_name_are_told_apart(tmp_path):
    folders = [tmp_path / "one" / "maps", tmp_path / "two" / "maps"]
    assert FolderLabeler(folders, CLASSES).labelings == tuple(map(str, folders))


def test_mistakes_are_named(listed, tmp_path):
    with pytest.raises(InputError, match="nowhere: .*no such folder"):
        with_maps(listed, [tmp_path / "nowhere"])
    with pytest.raises(InputError, match=r"photo0\.png.*train"):
        with_maps(listed, [tmp_path])
    write(tmp_path / "small", "photo0", np.zeros((4, 5), np.uint8))
    labeler = FolderLabeler([tmp_path / "small"], CLASSES)
    with pytest.raises(InputError, match=r"photo0\.png: expected .*50x40.* got 5x4"):
        score(labeler, listed.samples[:1])
    write(tmp_path / "void", "photo0", np.full((40, 50), 255, np.uint8))
    with pytest.raises(InputError, match="got 255"):
        score(FolderLabeler([tmp_path / "void"], CLASSES), listed.samples[:1])
    shutil.copy(listed.samples[0].image, tmp_path / "void" / "photo0.png")
    with pytest.raises(InputError, match=r"photo0\.png: .*JPEG"):
        score(FolderLabeler([tmp_path / "void"], CLASSES), listed.samples[:1])


def test_foreign_ids_in_a_prediction_are_named_by_its_file(listed, tmp_path):
    for name, value in (("seven", 7), ("void", 255)):
        write(tmp_path / name, "photo0", np.full((40, 50), value, np.uint8))
        with pytest.raises(InputError, match=rf"{name}/photo0\.png: .*{value}"):
            score(FolderLabeler([tmp_path / name], CLASSES), listed.samples[:1])


def test_predictions_have_the_data_s_ids_and_those_of_this_package_the_model_s(listed, tmp_path):
    sample = listed.samples[0]
    truth = np.asarray(Image.open(sample.label))
    shifted = np.where(truth == 255, 0, truth + 1).astype(np.uint8)
    write(tmp_path / "truth", "photo0", shifted)
    write(tmp_path / "theirs", "photo0", np.where(shifted == 0, 1, shifted).astype(np.uint8))
    (tmp_path / "ours").mkdir()
    write_labels(tmp_path / "ours/photo0.png", np.where(truth == 255, 0, truth).astype(np.uint8))
    own = replace(sample, label=tmp_path / "truth/photo0.png", void=(0,))
    result = score(FolderLabeler([tmp_path / "theirs", tmp_path / "ours"], CLASSES), [own])
    assert [result.confusion(name).mean_iou() for name in ("theirs", "ours")] == [1, 1]


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the label maps in shared/data/paper_figures")
def test_the_authors_own_label_maps():
    folders = [DATA / "paper_figures" / name for name in ("res_none", "res_crf")]
    samples = with_maps(read_list(DATA / "voc12", "val"), folders).samples
    result = score(FolderLabeler(folders, VOC_CLASSES), samples, workers=2, trimap=WIDTHS)
    assert result.images == 25
    none, crf = (result.confusion(name) for name in result.labelings)
    assert [round(100 * matrix.pixel_accuracy(), 1) for matrix in (none, crf)] == [88.8, 91.8]
    assert [round(100 * matrix.mean_iou(), 1) for matrix in (none, crf)] == [50.8, 62.0]
    assert [np.isfinite(matrix.iou()).sum() for matrix in (none, crf)] == [21, 19]
    # The nearer to the outlines, the worse, and the more the CRF helps.
    accuracies = [[m.pixel_accuracy() for m in result.trimap(name).values()] for name in result.labelings]
    assert (np.diff(accuracies) > 0).all()
    assert (np.diff(np.subtract(*accuracies[::-1])) < 0).all()

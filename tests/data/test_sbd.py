import contextlib
import importlib.util
import os

import numpy as np
import pytest
from PIL import Image

from atrous.data.dataset import open_dataset
from atrous.data.samples import read_pair
from atrous.data.sbd import merge_sbd, read_mat
from atrous.errors import InputError

needs_scipy = pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="SciPy writes the files")
SIZE = (6, 9)


def photo(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), value, np.uint8)).save(path)


def gtcls(labels):
    """GTcls as in SBD's cls/*.mat: a 1x1 struct, boundaries a 20x1 cell of sparse matrices."""
    from scipy.sparse import csc_matrix

    boundaries = np.empty((20, 1), object)
    for c in range(20):
        boundaries[c, 0] = csc_matrix((labels == c + 1).astype(float))
    present = np.unique(labels[labels > 0]).reshape(-1, 1).astype(np.uint8)
    return {"GTcls": {"Boundaries": boundaries, "Segmentation": labels, "CategoriesPresent": present}}


def mat(path, labels, **options):
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, gtcls(labels), **options)


@pytest.fixture
def sources(tmp_path):
    """SBD's release of a, b, c, d and VOC of b (train), c, e (val) and f (train): b and c are labeled by both."""
    release, voc = tmp_path / "benchmark_RELEASE", tmp_path / "VOC2012"
    for i, name in enumerate("abcd"):
        labels = np.zeros(SIZE, np.uint8)
        labels[1:4, 2:5] = i + 1
        mat(release / f"dataset/cls/{name}.mat", labels, do_compression=i % 2 == 0)
        photo(release / f"dataset/img/{name}.jpg", 10 * i)
    (release / "dataset/train.txt").write_text("a\nc\n")
    (release / "dataset/val.txt").write_text("b\nd\n")
    (voc / "SegmentationClass").mkdir(parents=True)
    (voc / "ImageSets/Segmentation").mkdir(parents=True)
    for name in "bcef":
        mask = np.zeros(SIZE, np.uint8)
        mask[1:4, 2:5], mask[4] = 20, 255
        Image.fromarray(mask).save(voc / f"SegmentationClass/{name}.png")
    for name in "abcdef":
        photo(voc / f"JPEGImages/{name}.jpg", 100)
    (voc / "ImageSets/Segmentation/train.txt").write_text("b\nf\n")
    (voc / "ImageSets/Segmentation/val.txt").write_text("c\ne\n")
    return release, voc


def lists(folder):
    return {p.stem: p.read_text().split() for p in (folder / "ImageSets/Segmentation").glob("*.txt")}


@needs_scipy
def test_the_lists_and_whose_masks(sources, tmp_path):
    out = tmp_path / "out"
    told = []
    merged = merge_sbd(*sources, out, done=lambda *counts: told.append(counts))
    assert lists(out) == {
        "train": ["b", "f"],
        "val": ["c", "e"],
        "trainval": ["b", "c", "e", "f"],
        "train_aug": ["a", "b", "d", "f"],
        "trainval_aug": ["a", "b", "c", "d", "e", "f"],
    }
    assert merged.lists == {"train": 2, "val": 2, "trainval": 4, "train_aug": 4, "trainval_aug": 6}
    assert (merged.written, merged.existing, merged.skipped) == (6, 0, ())
    assert told == [(i, 6) for i in range(1, 7)]

    data = open_dataset(out)
    samples = data.read(data.default_training_list).samples
    image, labels = read_pair(samples[0])
    assert image.mean() == pytest.approx(100, abs=3)  # VOC's photo, not SBD's copy
    assert (labels[2, 3], (labels == 255).any()) == (1, False)  # SBD's
    assert Image.open(samples[0].label).mode == "P"
    _, labels = read_pair(samples[1])
    assert (labels[2, 3], (labels == 255).any()) == (20, True)  # VOC's


@needs_scipy
def test_in_voc_itself_and_once_more(sources):
    release, voc = sources
    before = {p: p.stat().st_mtime_ns for p in voc.rglob("*") if p.is_file()}
    first = merge_sbd(release / "dataset", voc, voc)
    assert (first.written, first.existing) == (6, 0)
    assert all(p.stat().st_mtime_ns == time for p, time in before.items())
    (voc / "SegmentationClassAug/d.png").unlink()
    (voc / "SegmentationClassAug/a.png").write_bytes(b"mine")
    again = merge_sbd(release, voc, voc)
    assert (again.written, again.existing, again.lists) == (1, 5, first.lists)
    assert (voc / "SegmentationClassAug/a.png").read_bytes() == b"mine"
    assert (voc / "SegmentationClassAug/d.png").stat().st_size > 50


@needs_scipy
def test_a_part_of_the_data(sources, tmp_path):
    release, voc = sources
    (release / "dataset/cls/d.mat").unlink()
    (voc / "JPEGImages/f.jpg").unlink()
    merged = merge_sbd(release, voc, tmp_path / "out")
    assert merged.skipped == ("d", "f")
    assert lists(tmp_path / "out")["train_aug"] == ["a", "b"]
    assert open_dataset(tmp_path / "out").read("train_aug")

    # When the rest has come, the lists grow.
    mat(release / "dataset/cls/d.mat", np.zeros(SIZE, np.uint8))
    assert merge_sbd(release, voc, tmp_path / "out").written == 1
    assert lists(tmp_path / "out")["train_aug"] == ["a", "b", "d"]

    # A list of images that are not here is somebody's own.
    (tmp_path / "out/ImageSets/Segmentation/train_aug.txt").write_text("a\nx\n")
    with pytest.raises(InputError, match=r"train_aug\.txt: .*'x'"):
        merge_sbd(release, voc, tmp_path / "out")


@needs_scipy
def test_vocs_own_lists_that_name_missing_photos(sources):
    release, voc = sources
    own = {"train": ["b", "f", "x"], "val": ["c", "e"], "trainval": ["b", "c", "e", "f", "x"]}
    for name, images in own.items():
        (voc / f"ImageSets/Segmentation/{name}.txt").write_text("\n".join(images))
    merged = merge_sbd(release, voc, voc)
    assert merged.skipped == ("x",)
    assert lists(voc) == own | {"train_aug": ["a", "b", "d", "f"], "trainval_aug": ["a", "b", "c", "d", "e", "f"]}


@needs_scipy
def test_photos_are_copied_where_they_cannot_be_linked(sources, tmp_path, monkeypatch):
    def no_links(_source, _target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    merge_sbd(*sources, tmp_path / "out")
    copied = tmp_path / "out/JPEGImages/a.jpg"
    assert copied.read_bytes() == (sources[1] / "JPEGImages/a.jpg").read_bytes()
    assert copied.stat().st_nlink == 1


@needs_scipy
def test_photos_that_are_links_already(sources, tmp_path):
    photo = sources[1] / "JPEGImages/a.jpg"
    photo.rename(photo.parent / "elsewhere")
    try:
        photo.symlink_to("elsewhere")
    except OSError:
        pytest.skip("needs symbolic links")
    merge_sbd(*sources, tmp_path / "out")
    assert (tmp_path / "out/JPEGImages/a.jpg").stat().st_size > 100


@needs_scipy
def test_photos_that_only_sbd_has(sources, tmp_path):
    (sources[1] / "JPEGImages/d.jpg").unlink()
    assert merge_sbd(*sources, tmp_path / "out").skipped == ()
    assert (tmp_path / "out/JPEGImages/d.jpg").read_bytes() == (sources[0] / "dataset/img/d.jpg").read_bytes()


@needs_scipy
def test_damaged_files_are_named_and_the_others_are_done(sources, tmp_path):
    release, voc = sources
    whole = (release / "dataset/cls/d.mat").read_bytes()
    (release / "dataset/cls/a.mat").write_bytes(whole[: len(whole) // 2])
    mat(release / "dataset/cls/d.mat", np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match=r"a\.mat: .*MATLAB.*1 more") as caught:
        merge_sbd(release, voc, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert lists(tmp_path / "out") == {}
    assert len(list((tmp_path / "out/SegmentationClassAug").iterdir())) == 4
    (release / "dataset/cls/a.mat").write_bytes(whole)
    with pytest.raises(InputError, match=r"d\.mat: .*d\.jpg, 9x6 .* 4x4"):
        merge_sbd(release, voc, tmp_path / "out")
    (release / "dataset/cls/d.mat").write_bytes(whole)
    assert merge_sbd(release, voc, tmp_path / "out").existing == 5


@needs_scipy
def test_a_mask_that_cannot_be_read(sources, tmp_path):
    mask = sources[1] / "SegmentationClass/b.png"
    mask.unlink()
    mask.mkdir()
    with pytest.raises(InputError, match=r"SegmentationClass.b\.png: cannot be read"):
        merge_sbd(*sources, tmp_path / "out")


@needs_scipy
def test_mat_files_of_all_kinds(tmp_path):
    from scipy.io import savemat

    labels = np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE) % 21
    mat(tmp_path / "whole.mat", labels)
    assert np.array_equal(read_mat(tmp_path / "whole.mat"), labels)
    assert read_mat(tmp_path / "whole.mat").dtype == np.uint8
    for name, content in {
        "other": {"GTinst": 1},
        "number": {"GTcls": 3},
        "fields": {"GTcls": {"Boundaries": 1}},
        "beyond": {"GTcls": {"Segmentation": labels + np.uint8(1)}},
        "negative": {"GTcls": {"Segmentation": labels.astype(np.int16) - 1}},
        "half": {"GTcls": {"Segmentation": labels + 0.5}},
        "flat": {"GTcls": {"Segmentation": np.zeros((2, 2, 2), np.uint8)}},
        "empty": {"GTcls": {"Segmentation": np.zeros((0, 0), np.uint8)}},
    }.items():
        savemat(tmp_path / f"{name}.mat", content)
        with pytest.raises(InputError, match=rf"{name}\.mat: expected") as caught:
            read_mat(tmp_path / f"{name}.mat")
        assert "\n" not in str(caught.value)
    for name, content in {"text": b"no matrix", "nothing": b"", "newer": b"MATLAB 7.3 MAT-file" + bytes(600)}.items():
        (tmp_path / f"{name}.mat").write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}\.mat: expected a MATLAB file"):
            read_mat(tmp_path / f"{name}.mat")
    with pytest.raises(InputError, match="No such file"):
        read_mat(tmp_path / "none.mat")


@needs_scipy
@pytest.mark.parametrize("kind", ["f8", "f4", "i2", "u2", "i4", ">i8"])
@pytest.mark.parametrize("compressed", [False, True])
def test_labels_of_every_type_of_number(tmp_path, kind, compressed):
    labels = np.arange(SIZE[0] * SIZE[1], dtype=np.uint8).reshape(SIZE) % 21
    mat(tmp_path / "a.mat", labels.astype(kind), do_compression=compressed)
    assert np.array_equal(read_mat(tmp_path / "a.mat"), labels)


@needs_scipy
def test_a_type_that_there_is_not_is_no_crash(tmp_path):
    # At each place of an uncompressed file: SciPy's reader followed some of them out of its tables.
    mat(tmp_path / "a.mat", np.ones(SIZE, np.uint8))
    content = (tmp_path / "a.mat").read_bytes()
    read = 0
    for at in range(124, len(content)):
        (tmp_path / "b.mat").write_bytes(content[:at] + b"\xfe" + content[at + 1 :])
        with contextlib.suppress(InputError):
            read += read_mat(tmp_path / "b.mat").shape == SIZE
    assert 0 < read < len(content) - 124


@needs_scipy
def test_folders_of_another_kind(sources, tmp_path):
    release, voc = sources
    with pytest.raises(InputError, match="expected SBD's release"):
        merge_sbd(voc, voc, tmp_path / "out")
    with pytest.raises(InputError, match=r"VOC2012.*ImageSets.Segmentation"):
        merge_sbd(release, release, tmp_path / "out")
    (voc / "SegmentationClass").rename(voc / "Other")
    with pytest.raises(InputError, match="found no SegmentationClass"):
        merge_sbd(release, voc, tmp_path / "out")
    (voc / "Other").rename(voc / "SegmentationClass")
    assert not (tmp_path / "out").exists()
    (release / "dataset/train.txt").rename(release / "dataset/other.txt")
    with pytest.raises(InputError, match=r"train\.txt: cannot be read"):
        merge_sbd(release, voc, tmp_path / "out")
    (release / "dataset/other.txt").rename(release / "dataset/train.txt")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be created"):
        merge_sbd(release, voc, tmp_path / "file")
    (voc / "ImageSets/Segmentation/val.txt").write_text("b\n")
    with pytest.raises(InputError, match=r"train\.txt and val\.txt.* b\b"):
        merge_sbd(release, voc, tmp_path / "out")
    (release / "dataset/val.txt").write_text("../b\n")
    with pytest.raises(InputError, match=r"val\.txt: .*'\.\./b'"):
        merge_sbd(release, voc, tmp_path / "out")

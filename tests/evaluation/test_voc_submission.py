import tarfile

import numpy as np
import pytest
from PIL import Image

from atrous.data.folder_dataset import read_list
from atrous.errors import InputError
from atrous.evaluation.voc_submission import Submission

PALETTE = [(0, 0, 0), (9, 8, 7)]


def read_unlabeled(root, name):
    return read_list(root, name, unlabeled=True)


def test_the_servers_layout(tiny_voc, tmp_path):
    samples = read_unlabeled(tiny_voc, "train").samples[:2]
    submission = Submission(tmp_path, "test", PALETTE)
    for n, sample in enumerate(samples):
        submission.add(sample, np.full((40, 50), n, np.uint8))
    archive = submission.pack(samples)
    names = [f"results/VOC2012/Segmentation/comp6_test_cls/photo{n}.png" for n in (0, 1)]
    assert archive == tmp_path / "results.tgz"
    with tarfile.open(archive) as tar:
        assert tar.getnames() == names
        assert tar.extractfile(names[1]).read() == (tmp_path / names[1]).read_bytes()
    with Image.open(tmp_path / names[1]) as image:
        assert image.mode == "P"
        assert image.getpalette()[3:6] == [9, 8, 7]
        assert (np.asarray(image) == 1).all()


def test_an_archive_lacks_no_image(tiny_voc, tmp_path):
    samples = read_unlabeled(tiny_voc, "train").samples[:2]
    submission = Submission(tmp_path, "test", PALETTE)
    submission.add(samples[0], np.zeros((40, 50), np.uint8))
    with pytest.raises(InputError, match=r"photo1\.png"):
        submission.pack(samples)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_images_without_labels_are_listed(tiny_voc, small_data):
    assert all(sample.label is not None for sample in read_unlabeled(tiny_voc, "train").samples)
    (small_data / "SegmentationClassAug" / "photo3.png").unlink()
    labels = [sample.label is not None for sample in read_unlabeled(small_data, "train").samples]
    assert labels == [True, True, True, False, True, True]
    (small_data / "SegmentationClassAug").rename(small_data / "elsewhere")
    assert not any(sample.label for sample in read_unlabeled(small_data, "train").samples)


def test_mistakes_are_named(small_data, tmp_path):
    with pytest.raises(InputError, match=r"list test: .*train.*test\.txt"):
        read_unlabeled(small_data, "test")
    (small_data / "JPEGImages" / "photo3.jpg").unlink()
    with pytest.raises(InputError, match=r"train\.txt: .*'photo3'"):
        read_unlabeled(small_data, "train")
    (tmp_path / "results").write_text("in the way")
    with pytest.raises(InputError, match="comp6_val_cls: cannot be created"):
        Submission(tmp_path, "val", PALETTE)

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from atrous.data.samples import read_pair
from atrous.data.voc import read_list
from atrous.errors import InputError


@pytest.fixture
def voc(tmp_path):
    for folder in ("JPEGImages", "SegmentationClassAug", "ImageSets/Segmentation"):
        (tmp_path / folder).mkdir(parents=True)
    names = [f"2007_{i:06d}" for i in range(10)]
    for name in names:
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "SegmentationClassAug" / f"{name}.png")
    (tmp_path / "ImageSets/Segmentation/train_aug.txt").write_text("\n".join(names) + "\n")
    return tmp_path


def test_reads_pairs_in_the_order_of_the_list(voc):
    samples = read_list(voc, "train_aug")
    assert samples.name == "train_aug"
    assert [s.name for s in samples.samples][:2] == ["2007_000000", "2007_000001"]
    assert samples.samples[3].label == voc / "SegmentationClassAug" / "2007_000003.png"


def test_holding_out_takes_evenly_spaced_images(voc):
    whole = read_list(voc, "train_aug")
    rest, held = whole.hold_out(2)
    assert [s.name[-1] for s in held.samples] == ["0", "5"]
    assert [s.name[-1] for s in rest.samples] == list("12346789")
    assert len({whole.sha256, rest.sha256, held.sha256}) == 3
    with pytest.raises(InputError, match="hold_out=10"):
        whole.hold_out(10)


def test_a_path_serves_as_a_list_too(voc, tmp_path):
    (voc / "mine.txt").write_text("2007_000004")
    assert [s.name for s in read_list(voc, str(voc / "mine.txt")).samples] == ["2007_000004"]


@pytest.mark.parametrize(
    "line",
    [
        "2007_000004.jpg",
        "JPEGImages/2007_000004.jpg",
        # As the paper's authors' own lists have it.
        "/JPEGImages/2007_000004.jpg /SegmentationClassAug/2007_000004.png",
        "/JPEGImages/2007_000004.jpg",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lists_may_name_files(voc, line, end):
    listing = voc / "ImageSets/Segmentation/theirs.txt"
    listing.write_bytes(f"{line}{end}2007_000005{end}".encode())
    samples = read_list(voc, "theirs")
    assert [s.name for s in samples.samples] == ["2007_000004", "2007_000005"]
    assert samples.samples[0].label == voc / "SegmentationClassAug/2007_000004.png"
    listing.write_text(f"{line}\n2007_000004\n")
    with pytest.raises(InputError, match=r"theirs\.txt: line 2 repeats '2007_000004' of line 1"):
        read_list(voc, "theirs")


def test_mistakes_name_the_file(voc):
    with pytest.raises(InputError, match=r"val\.txt.*train_aug"):
        read_list(voc, "val")
    (voc / "JPEGImages/2007_000003.jpg").unlink()
    with pytest.raises(InputError, match=r"2007_000003\.jpg.*no such file"):
        read_list(voc, "train_aug")
    (voc / "ImageSets/Segmentation/empty.txt").write_text("\n")
    with pytest.raises(InputError, match="empty"):
        read_list(voc, "empty")


def test_a_pair_that_does_not_fit_is_named(voc):
    samples = read_list(voc, "train_aug").samples
    image, labels = read_pair(samples[0])
    assert image.shape == (4, 4, 3)
    assert labels.shape == (4, 4)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(samples[1].label)
    with pytest.raises(InputError, match=r"2007_000001\.png: .*2007_000001\.jpg, 4x4 pixels, got 5x4"):
        read_pair(samples[1])
    with pytest.raises(InputError, match="expected a label map"):
        read_pair(replace(samples[2], label=None))

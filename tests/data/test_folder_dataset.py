import unicodedata
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from atrous.data.folder_dataset import (
    find_images,
    list_names,
    part_of,
    read_classes,
    read_list,
    read_names,
    training_list,
    unread_lists,
)
from atrous.data.layout import layout_of
from atrous.errors import InputError


@pytest.fixture
def own(tmp_path):
    """Ten photos and their label maps."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(10):
        add(tmp_path, f"photo {i}")
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    return tmp_path


def add(root, name, suffix=".jpg"):
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(root / "images" / f"{name}{suffix}")
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(root / "labels" / f"{name}.png")


def names(root, listed):
    return [sample.name for sample in read_list(root, listed).samples]


def test_pairs_by_name(own):
    add(own, "scan.2", ".TIF")
    (own / "images/notes.txt").write_text("no photo")
    (own / "images/.hidden.jpg").write_text("nor this")
    (sample, *_) = [s for s in read_list(own, "all").samples if s.name == "scan.2"]
    assert sample.image == own / "images/scan.2.TIF"
    assert sample.label == own / "labels/scan.2.png"
    assert len(names(own, "all")) == 11


def test_two_photos_of_one_name(own):
    add(own, "photo 3", ".png")
    with pytest.raises(InputError, match=r"photo 3\.png: .*photo 3\.jpg"):
        find_images(layout_of(own))


def test_no_photos(own):
    for path in (own / "images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="images: expected images"):
        read_list(own, "all")


def test_a_photo_without_a_label_map(own):
    (own / "labels/photo 4.png").unlink()
    (own / "labels/photo 7.png").unlink()
    with pytest.raises(InputError, match=r"photo 4\.png: .*photo 4\.jpg.* 1 others"):
        read_list(own, "all")
    (own / "lists").mkdir()
    (own / "lists/labeled.txt").write_text("photo 5\nphoto 2.jpg\n")
    assert names(own, "labeled") == ["photo 5", "photo 2"]


def test_a_photo_that_a_list_names_in_two_ways_is_named_twice(own):
    (own / "lists").mkdir()
    (own / "lists/mine.txt").write_bytes(b"photo 5\r\nphoto 2\r\nphoto 5.jpg\r\n")
    with pytest.raises(InputError, match=r"mine\.txt: line 3 repeats 'photo 5' of line 1"):
        read_list(own, "mine")


def test_the_split_is_by_name_alone(own):
    train, val = names(own, "train"), names(own, "val")
    assert sorted(train + val) == names(own, "all")
    for i in range(10, 40):
        add(own, f"photo {i}")
    assert set(train) < set(names(own, "train"))
    assert set(val) < set(names(own, "val"))
    assert names(own, "train@0.8") == names(own, "train")
    assert names(own, "val@0.2") == names(own, "val")
    assert set(names(own, "val")) < set(names(own, "val@0.5"))
    assert sorted(names(own, "train@0.5") + names(own, "val@0.5")) == names(own, "all")


def test_which_photos_fall_to_val_never_changes():
    # Those of the 20 whose SHA-256, as sha256sum prints it, begins with less than 3333 (a fifth of 10000, base 16).
    in_val = ["photo 9", "photo 12", "photo 16", "photo 18"]
    assert part_of([f"photo {i}" for i in range(20)], "val", Decimal("0.2")) == in_val


@settings(deadline=None, max_examples=30)
@given(
    photos=st.sets(st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1, max_size=9), max_size=30),
    share=st.integers(1, 99).map(lambda percent: Decimal(percent) / 100),
)
def test_parts_of_complementary_shares_are_complementary(photos, share):
    val, train = part_of(photos, "val", share), part_of(photos, "train", 1 - share)
    assert sorted(val + train) == sorted(photos)


def test_shares_are_met_on_many_photos():
    photos = [f"IMG_{i:05}" for i in range(5000)]
    assert len(part_of(photos, "val", Decimal("0.2"))) == pytest.approx(1000, abs=100)


@pytest.mark.parametrize("listed", ["val@", "val@0", "train@1", "val@1.5", "val@-0.1", "val@x", "val@nan", "val@inf"])
def test_shares_that_cannot_be(own, listed):
    with pytest.raises(InputError, match=f"{listed}: expected a share"):
        read_list(own, listed)


def test_unknown_lists_name_those_that_are_there(own):
    for listed in ("test", "test@0.5", "all@0.5"):
        with pytest.raises(InputError, match=r"all, train, val"):
            read_list(own, listed)
    with pytest.raises(InputError, match="none of the 10"):
        read_list(own, "val@0.0001")


def test_lists_of_files(own):
    (own / "lists").mkdir()
    (own / "lists/night.txt").write_text("photo 1\n")
    (own / "by hand.txt").write_text("photo 2.jpg\r\nphoto 1\r\n")
    (own / "README.txt").write_text("Photos of roads.\n")
    (own / "binary.txt").write_bytes(b"\xff\xfe\x00")
    assert list_names(layout_of(own)) == ("all", "train", "val", "night", "by hand")
    assert names(own, "by hand") == ["photo 2", "photo 1"]
    assert read_list(own, "night").name == "night"
    (own / "night.txt").write_text("photo 3")
    with pytest.raises(InputError, match=r"night\.txt: .*lists.*night\.txt"):
        list_names(layout_of(own))


@pytest.mark.parametrize(
    "line",
    [
        "images/photo 1.jpg labels/photo 1.png",
        "images/photo 1.jpg,labels/photo 1.png",
        "images\\photo 1.jpg, labels\\photo 1.png",
        "./images/photo 1.jpg",
        "C:\\data\\images\\photo 1.jpg",
        "images/photo 1\tlabels/photo 1.png",
    ],
)
def test_lists_of_other_tools(own, line):
    (own / "train.txt").write_text(f"{line}\n{line.replace('1', '2')}\n")
    assert names(own, "train") == ["photo 1", "photo 2"]
    with pytest.raises(InputError, match="list val: expected one of all, train"):
        names(own, "val")


def test_a_path_of_a_list_may_start_at_the_data(own):
    (own / "splits").mkdir()
    (own / "splits/mine.txt").write_text("photo 3\n")
    assert names(own, "splits/mine.txt") == ["photo 3"]
    with pytest.raises(InputError, match=r"^splits/other\.txt: cannot be read"):
        names(own, "splits/other.txt")


def test_lists_that_are_not_read(own):
    for name in ("splits/train.txt", "splits/notes.txt", "lists/fold/val_1.txt", "labels/more/train.txt"):
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text("photo 3\n")
    assert unread_lists(layout_of(own)) == [own / "lists/fold/val_1.txt", own / "splits/train.txt"]


@pytest.mark.parametrize("other", ["photo 3.jpg", "photo 3_mask.png"])
def test_a_label_map_of_another_name_is_shown(own, other):
    (own / "labels/photo 3.png").rename(own / "labels" / other)
    with pytest.raises(InputError, match=rf"labels/photo 3\.png: .*got {other};"):
        read_list(own, "all")


@pytest.mark.parametrize("other", ["photo 33", "photo 3_b"])
def test_the_label_map_of_another_image_is_not_shown(own, other):
    add(own, other)
    (own / "labels/photo 3.png").unlink()
    with pytest.raises(InputError, match=r"labels/photo 3\.png: .*no such file;"):
        read_list(own, "all")


@pytest.mark.parametrize("line", ["images/other.jpg", "photo 1.jpg labels/photo 2.png", "photo 1 -1", ""])
@pytest.mark.parametrize("name", ["train", "train_list"])
def test_a_list_that_cannot_be_read_is_not_replaced_by_a_split(own, line, name):
    (own / f"{name}.txt").write_text(f"{line}\n")
    with pytest.raises(InputError, match=name):
        names(own, name)
    with pytest.raises(InputError, match="list val"):
        names(own, "val")


def test_a_label_map_may_be_named_after_the_file(own):
    (own / "labels/photo 1.png").rename(own / "labels/photo 1.jpg.png")
    assert read_list(own, "all").samples[1].label == own / "labels/photo 1.jpg.png"


def test_a_file_for_train_or_val_replaces_the_split(own):
    (own / "val.txt").write_text("photo 1\n")
    assert list_names(layout_of(own)) == ("all", "val")
    assert names(own, "val") == ["photo 1"]
    with pytest.raises(InputError, match="list train: expected one of"):
        read_list(own, "train")
    assert names(own, "train@0.5")  # asked for by name it is still there
    assert training_list(("val",)) == "train"


def test_a_path_serves_as_a_list_too(own, tmp_path):
    (tmp_path / "mine.txt").write_text("photo 6")
    listed = read_list(own, str(tmp_path / "mine.txt"))
    assert (listed.name, [s.name for s in listed.samples]) == ("mine", ["photo 6"])


def test_a_list_that_names_no_photo(own):
    (own / "val.txt").write_text("photo 1\nphoto 11\n")
    with pytest.raises(InputError, match=r"val\.txt: .*'photo 11'"):
        read_list(own, "val")


def test_accents_composed_or_not_are_the_same(own):
    composed = unicodedata.normalize("NFC", "Küste")
    apart = unicodedata.normalize("NFD", "Küste")
    assert composed != apart
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(own / "images" / f"{apart}.jpg")
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(own / "labels" / f"{composed}.png")
    (own / "val.txt").write_text(f"{apart}\n", encoding="utf-8")
    assert names(own, "val") == [composed]


def test_classes_are_numbered_from_0(tmp_path):
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfsky\r\n night road \r\nsign # 3\r\n\r\n")
    assert read_classes(tmp_path / "classes.txt") == ("sky", "night road", "sign # 3")


@pytest.mark.parametrize(
    "text", ["__ignore__\n_background_\nsky", "Pixel Value, Class\n0, _background_\n1, sky", "_background_\r\nsky\n\n"]
)
def test_class_lists_of_other_tools(tmp_path, text):
    (tmp_path / "classes.txt").write_text(text)
    assert read_classes(tmp_path / "classes.txt") == ("_background_", "sky")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sky\n\nroad\n", "line 2 is empty"),
        ("# my classes\nsky\nroad\n", "line 1 is a comment"),
        ("sky\nroad\nsky\n", "line 3 repeats 'sky' of line 1"),
        ("sky\n", r"expected 2 to 255 .* got 1"),
        ("\n".join(map(str, range(256))), r"got 256"),
        ("", "empty"),
        ("Pixel Value, Class\n0, sky\n2, road", "'1, NAME', got '2, road'"),
    ],
)
def test_class_lists_that_cannot_be_right(tmp_path, text, says):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(InputError, match=says):
        read_classes(tmp_path / "classes.txt")


def test_a_list_names_no_image_twice(tmp_path):
    (tmp_path / "val.txt").write_text("a\n\nb\na\n")
    with pytest.raises(InputError, match="line 4 repeats 'a' of line 1"):
        read_names(tmp_path / "val.txt")


@settings(deadline=None, max_examples=60)
@given(content=st.binary(max_size=40) | st.text(alphabet="ab#\n\r é\ufeff", max_size=20).map(str.encode))
def test_any_file_is_a_list_or_one_line_of_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("lists") / "list.txt"
    path.write_bytes(content)
    for read in (read_names, read_classes):
        try:
            found = read(path)
        except InputError as error:
            assert [str(path) in line for line in str(error).splitlines()] == [True]  # noqa: PT017  # either will do
        else:
            assert len(set(found)) == len(found) > 0
            assert all(found)

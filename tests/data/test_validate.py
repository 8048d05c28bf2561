import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from atrous.data.folder_dataset import read_list
from atrous.data.validate import check_dataset
from atrous.errors import InputError

H, W = 8, 10


def photo(root, name, seed=None, **options):
    rng = np.random.default_rng(list(name.encode()) if seed is None else seed)
    Image.fromarray(rng.integers(0, 256, (H, W, 3), dtype=np.uint8)).save(root / "images" / name, **options)


def mask(root, name, labels, folder="labels"):
    Image.fromarray(labels).save(root / folder / f"{name}.png")


def plain(value=0):
    return np.full((H, W), value, np.uint8)


@pytest.fixture
def own(tmp_path):
    root = tmp_path / "data"
    for folder in ("images", "labels", "lists"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("sky\nroad\nsign\n")
    for i, name in enumerate(("a", "b", "c", "d")):
        photo(root, f"{name}.jpg")
        labels = plain()
        labels[: i + 1], labels[-1] = 1, 255
        mask(root, name, labels)
    (root / "lists/train.txt").write_text("a\nb\n")
    (root / "lists/val.txt").write_text("c\nd\n")
    return root


def problems(root, **options):
    return {(os.path.relpath(p.file, root), p.kind): p.message for p in check_dataset(root, **options).problems}


def test_all_is_well(own):
    found = check_dataset(own)
    assert found.problems == []
    assert found.notes == ["no label map has the class 'sign'"]
    assert found.pairs == 4
    assert found.pixels[[0, 1, 255]].tolist() == [W * (4 * 7 - 10), W * 10, W * 4]
    assert found.pixels.sum() == 4 * H * W
    assert found.images[[0, 1, 2, 255]].tolist() == [4, 4, 0, 4]
    assert found.lists == {"all": 4, "train": 2, "val": 2}
    assert found.overlaps == []


def test_every_file_has_its_own_problems_and_the_others_are_checked(own):
    (own / "lists/train.txt").unlink()
    (own / "lists/val.txt").unlink()
    for name in "efghijklmn":
        photo(own, f"{name}.jpg")
        mask(own, name, plain())
    (own / "labels/e.png").unlink()
    (own / "images/f.jpg").unlink()
    mask(own, "g", np.zeros((H, W - 1), np.uint8))
    beyond = plain()
    beyond[3, 5:7], beyond[7, 0] = 7, 9
    mask(own, "h", beyond)
    mask(own, "i", np.zeros((H, W, 3), np.uint8))
    mask(own, "j", np.zeros((H, W), np.uint16))
    mask(own, "k", plain(255))
    mask(own, "l", np.zeros((H, W), bool))
    whole = (own / "images/m.jpg").read_bytes()
    (own / "images/m.jpg").write_bytes(whole[: len(whole) // 2])
    (own / "labels/n.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    photo(own, "a.png")
    (own / "labels/b.jpg").write_bytes(whole)
    (own / "images/folder.jpg").mkdir()
    (own / "images/notes.md").touch()
    (own / "images/.hidden").touch()

    found = problems(own)
    assert found == {
        ("images/e.jpg", "pair"): found["images/e.jpg", "pair"],
        ("labels/f.png", "pair"): found["labels/f.png", "pair"],
        ("labels/g.png", "size"): found["labels/g.png", "size"],
        ("labels/h.png", "id"): found["labels/h.png", "id"],
        ("labels/i.png", "label map"): found["labels/i.png", "label map"],
        ("labels/j.png", "label map"): found["labels/j.png", "label map"],
        ("labels/k.png", "void"): found["labels/k.png", "void"],
        ("labels/l.png", "label map"): found["labels/l.png", "label map"],
        ("images/m.jpg", "image"): found["images/m.jpg", "image"],
        ("labels/n.png", "label map"): found["labels/n.png", "label map"],
        ("images/a.png", "name"): found["images/a.png", "name"],
        ("labels/b.jpg", "name"): found["labels/b.jpg", "name"],
        ("images/folder.jpg", "image"): found["images/folder.jpg", "image"],
    }
    for part, says in {
        ("labels/i.png", "label map"): "add colors.txt",
        ("labels/j.png", "label map"): "16 bits",
        ("labels/l.png", "label map"): "1-bit pixels",
        ("images/m.jpg", "image"): "damaged or cut short",
        ("labels/n.png", "label map"): "damaged or cut short",
        ("images/a.png", "name"): "a.jpg",
    }.items():
        assert says in found[part]
    whole_report = check_dataset(own, threads=3)
    assert whole_report.pairs == 5
    assert whole_report.lists["all"] == 12
    assert f"{own}/images/notes.md: skipped; not an image" in whole_report.notes
    assert {(os.path.relpath(p.file, own), p.kind): p.message for p in whole_report.problems} == found
    assert json.loads(json.dumps(whole_report.as_dict()))["pairs"] == 5


def test_void_and_foreign_ids_are_counted_apart_from_the_classes(own):
    labels = plain()
    labels[0], labels[1, :3], labels[2] = 11, 7, 1
    mask(own, "a", labels)
    found = check_dataset(own, void=[11])
    ((file, kind, message),) = [(p.file, p.kind, p.message) for p in found.problems]
    assert (file, kind) == (str(own / "labels/a.png"), "id")
    assert "3 pixels of id 7" in message
    assert "void=7" in message
    assert found.pixels[[0, 1, 2]].tolist() == [W * (5 + 4 + 3 + 6) - 3, W * (2 + 3 + 4 + 1), 0]
    assert (found.pixels[255], found.pixels[7], found.pixels[11], found.pairs) == (4 * W, 0, 0, 4)


def test_masks_of_0_and_255_where_two_classes_are_named(own):
    (own / "classes.txt").write_text("nothing\nroad\n")
    for name in "abcd":
        mask(own, name, plain() + np.uint8(255) * (np.arange(W) > 4))
    assert [p.kind for p in check_dataset(own).problems] == ["id"] * 4
    assert check_dataset(own, void=[255]).problems == []


def test_a_photo_that_its_camera_turned(own):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(own, "a.jpg", exif=exif)
    says = problems(own)["labels/a.png", "size"]
    assert "8x10 pixels, got 10x8 (the image has an EXIF orientation" in says


def test_lists(own):
    (own / "lists/train.txt").write_text("a\nb\nc\nx\n")
    (own / "lists/few.txt").write_text("a\na\n")
    (own / "lists/night.txt").write_bytes(b"a\n\xff")
    (own / "labels/b.png").unlink()
    found = problems(own)
    assert found.pop(("images/b.jpg", "pair"))
    assert "line 2 repeats 'a' of line 1" in found.pop(("lists/few.txt", "list"))
    assert "line 2" in found.pop(("lists/night.txt", "list"))
    assert "got 'x'" in found.pop(("lists/train.txt", "list"))
    assert found.keys() == {(".", "list")}
    assert check_dataset(own).overlaps == [("train", "val", 1)]
    assert check_dataset(own).lists == {"all": 3, "train": 3, "val": 2}


def test_a_list_that_names_a_photo_in_two_ways(own):
    (own / "lists/val.txt").write_text("c\nd\nc.jpg\n")
    assert "line 3 repeats 'c' of line 1" in problems(own)["lists/val.txt", "list"]


def test_photos_on_no_list_need_no_label_map(own):
    photo(own, "later.jpg")
    assert problems(own) == {}
    (own / "lists/val.txt").unlink()
    (own / "lists/train.txt").unlink()
    assert ("images/later.jpg", "pair") in problems(own)


def test_the_same_picture_twice(own):
    shutil.copy(own / "images/a.jpg", own / "images/c.jpg")
    shutil.copy(own / "images/a.jpg", own / "images/b.jpg")
    assert check_dataset(own).notes[-2:] == [
        f"{own}/images/b.jpg: the same image as a.jpg",
        f"{own}/images/c.jpg: the same image as a.jpg; one is in train, one in val",
    ]
    assert check_dataset(own).problems == []


def test_a_class_list_that_cannot_be_read_is_one_problem(own):
    (own / "classes.txt").write_text("sky\n\nroad\n")
    mask(own, "d", plain(200))
    found = check_dataset(own)
    (problem,) = found.problems
    assert (problem.kind, "line 2 is empty" in problem.message) == ("classes", True)
    assert problem.file == str(own / "classes.txt")
    assert (found.classes, found.pairs) == ((), 4)


def test_a_class_list_that_is_given_and_cannot_be_read_is_a_mistake(own, tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.txt: cannot be read"):
        check_dataset(own, classes=tmp_path / "nowhere.txt")
    (tmp_path / "one.txt").write_text("sky\n")
    with pytest.raises(InputError, match=r"one\.txt: expected 2 to 255"):
        check_dataset(own, classes=tmp_path / "one.txt")


def test_masks_in_colors(own):
    colors = np.array([[0, 0, 255], [9, 9, 9], [70, 0, 0]], np.uint8)
    for name in "abcd":
        mask(own, name, colors[plain(1)])
    (own / "table.txt").write_text("sky 0 0 255\nroad 9 9 9\nsign 70 0 0\n")
    wrong = colors[plain(1)]
    wrong[2, 4] = 9, 9, 8
    mask(own, "b", wrong)
    (says,) = problems(own, colors=own / "table.txt").values()
    assert "got 9 9 8 at x=4, y=2" in says
    assert check_dataset(own, colors=own / "table.txt").pixels[1] == 3 * H * W
    (own / "colors.txt").write_text("sky 0 0 255 255\n")
    with pytest.raises(InputError, match=r"colors\.txt: line 1"):
        check_dataset(own)


def test_voc(tiny_voc, tmp_path):
    root = tmp_path / "voc"
    shutil.copytree(tiny_voc, root)
    found = check_dataset(root)
    assert (found.layout, found.problems, found.pairs, found.lists) == ("voc", [], 6, {"train": 6})
    (root / "JPEGImages/photo0.jpg").unlink()
    (root / "SegmentationClassAug/photo1.png").unlink()
    Image.fromarray(plain()).save(root / "JPEGImages/unlabeled.jpg")
    mask(root, "photo2", plain(), "SegmentationClassAug")
    (root / "ImageSets/Segmentation/val.txt").write_text("photo3\nphoto9\n")
    assert problems(root).keys() == {
        ("SegmentationClassAug/photo0.png", "pair"),
        ("ImageSets/Segmentation/train.txt", "list"),
        ("JPEGImages/photo1.jpg", "pair"),
        ("SegmentationClassAug/photo2.png", "size"),
        ("ImageSets/Segmentation/val.txt", "list"),
        (".", "list"),
    }


def test_nothing_to_check(tmp_path):
    with pytest.raises(InputError, match="images and labels"):
        check_dataset(tmp_path)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    (tmp_path / "classes.txt").write_text("sky\nroad")
    found = check_dataset(tmp_path)
    assert [p.kind for p in found.problems] == ["pair"]
    assert (found.pairs, found.lists) == (0, {"all": 0, "train": 0, "val": 0})


def test_few_photos_may_leave_a_part_empty(own):
    for name in ("train", "val"):
        (own / f"lists/{name}.txt").unlink()
    for name in "cd":  # their hashes, 2e7d... and 18ac..., are in the lowest fifth
        (own / f"images/{name}.jpg").unlink()
        (own / f"labels/{name}.png").unlink()
    assert check_dataset(own).lists == {"all": 2, "train": 2, "val": 0}
    assert "list val is empty; write lists/val.txt" in check_dataset(own).notes


def test_a_split_by_hash_is_noted(own):
    (own / "lists").rename(own / "splits")
    hashed, *moved = (note for note in check_dataset(own).notes if "list" in note)
    assert "hash" in hashed
    assert [note.split(":")[0] for note in moved] == [f"{own}/splits/train.txt", f"{own}/splits/val.txt"]
    (own / "val.txt").write_text("a\n")
    assert not any("hash" in note or "splits" in note for note in check_dataset(own).notes)


def test_progress_is_told(own):
    told = []
    check_dataset(own, done=lambda *counts: told.append(counts))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("seed", range(3))
def test_damage_anywhere_is_a_problem_or_harmless(own, seed):
    """Bytes of all files changed at random: nothing but problems may come of it."""
    rng = np.random.default_rng(seed)
    for path in [p for p in own.rglob("*") if p.is_file()]:
        content = bytearray(path.read_bytes())
        for place in rng.integers(0, len(content), 3):
            content[place] = rng.integers(256)
        path.write_bytes(content)
    for problem in check_dataset(own).problems:
        assert "\n" not in problem.message


def test_absent_classes_are_one_note_and_none_if_no_label_map_can_be_read(own):
    (own / "classes.txt").write_text("".join(f"class {c}\n" for c in range(30)))
    (note,) = check_dataset(own).notes
    assert "28 classes 'class 2', 'class 3'" in note
    assert note.endswith(" and 20 more")
    for path in (own / "labels").iterdir():
        path.write_bytes(b"damaged")
    found = check_dataset(own)
    assert (found.pairs, len(found.problems), found.notes) == (0, 4, [])


def test_without_any_mask_no_list_is_asked_for(own):
    shutil.rmtree(own / "lists")
    for path in (own / "labels").iterdir():
        path.unlink()
    found = check_dataset(own)
    assert [problem.kind for problem in found.problems] == ["pair"] * 4
    assert found.notes == []


def test_suffixes_may_be_capitals(own):
    (own / "labels/a.png").rename(own / "labels/a.PNG")
    assert check_dataset(own).problems == []
    assert check_dataset(own).pairs == 4


@pytest.mark.parametrize("name", ["masks", "annotations"])
def test_another_name_of_the_labels(own, name):
    (own / "labels").rename(own / name)
    with pytest.raises(InputError, match=f"rename .*{name} to labels"):
        check_dataset(own)


def test_folders_of_splits_inside_of_images_and_labels(own):
    for folder in ("images", "labels"):
        for part in ("train", "val"):
            (own / folder / part).mkdir()
        for path in (own / folder).glob("*.*"):
            path.rename(path.parent / "train" / path.name)
    (own / "lists/train.txt").unlink()
    (own / "lists/val.txt").unlink()
    (problem,) = check_dataset(own).problems
    assert problem.file == str(own / "images")
    assert "folders train, val; move" in problem.message
    assert "lists/train.txt" in problem.message
    with pytest.raises(InputError, match="folders train, val; move"):
        read_list(own, "train")

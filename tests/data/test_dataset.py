import os
import shutil

import numpy as np
import pytest
from PIL import Image

from atrous.data.dataset import choose_photos, files_below, open_dataset, read_at_most
from atrous.data.metadata import VOC_CLASSES
from atrous.data.samples import read_pair
from atrous.errors import InputError
from atrous.labelmap import voc_palette, write_labels

TABLE = "road 9 9 9\nsky 0 0 255\nvoid 0 0 0\n"


@pytest.fixture
def own(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for name in "ab":
        Image.fromarray(np.full((2, 3, 3), 50, np.uint8)).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(np.array([[0, 1, 1], [0, 255, 1]], np.uint8)).save(tmp_path / "labels" / f"{name}.png")
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    return tmp_path


def test_voc(tiny_voc):
    data = open_dataset(tiny_voc)
    assert (data.layout, data.classes) == ("voc", VOC_CLASSES)
    assert np.array_equal(data.palette, voc_palette(21))
    assert data.lists() == ("train",)
    assert (data.default_training_list, data.default_evaluation_list) == ("train", "val")
    image, labels = read_pair(data.read("train").samples[0])
    assert image.shape == (*labels.shape, 3)


def test_voc_with_the_extra_masks_and_other_classes(tiny_voc, tmp_path):
    root = tmp_path / "voc"
    shutil.copytree(tiny_voc, root)
    shutil.copy(root / "ImageSets/Segmentation/train.txt", root / "ImageSets/Segmentation/train_aug.txt")
    (root / "classes.txt").write_text("nothing\nred\nblue")
    data = open_dataset(root)
    assert data.default_training_list == "train_aug"
    assert data.classes == ("nothing", "red", "blue")
    (root / "other.txt").write_text("nothing\nred")
    data = open_dataset(root, classes=root / "other.txt")
    with pytest.raises(InputError, match=r"photo1\.png: .* id 2 at x=10, y=5"):
        read_pair(data.read("train_aug").samples[1])


def test_own_data(own):
    data = open_dataset(own)
    assert (data.layout, data.classes, data.colors) == ("folders", ("sky", "road"), None)
    assert data.palette.tolist() == voc_palette(2).tolist()
    assert data.lists() == ("all", "train", "val")
    assert (data.default_training_list, data.default_evaluation_list) == ("train", "val")
    _, labels = read_pair(data.read("all").samples[0])
    assert labels.tolist() == [[0, 1, 1], [0, 255, 1]]


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("listed", [False, True])
def test_masks_in_colors(own, given, listed):
    pixels = np.array([[[9, 9, 9], [0, 0, 255], [0, 0, 0]]] * 2, np.uint8)
    for name in "ab":
        Image.fromarray(pixels).save(own / "labels" / f"{name}.png")
    (own / ("table.csv" if given else "colors.txt")).write_text(TABLE)
    if not listed:
        (own / "classes.txt").unlink()
    data = open_dataset(own, colors=own / "table.csv" if given else None)
    assert data.classes == (("sky", "road") if listed else ("road", "sky"))
    assert data.palette[data.classes.index("sky")].tolist() == [0, 0, 255]
    _, labels = read_pair(data.read("all").samples[1])
    assert labels[0].tolist() == [data.classes.index("road"), data.classes.index("sky"), 255]


def labels_of(own, rows, names, **options):
    Image.fromarray(np.array(rows, np.uint8)).save(own / "labels/a.png")
    (own / "classes.txt").write_text("\n".join(names))
    data = open_dataset(own, **options)
    return data.classes, read_pair(data.read("all").samples[0])[1].tolist()


def test_void_has_the_id_that_the_user_names(own):
    names, rows = labels_of(own, [[0, 11, 1], [10, 11, 255]], [f"c{i}" for i in range(11)], void=[11])
    assert (len(names), rows) == (11, [[0, 255, 1], [10, 255, 255]])


@pytest.mark.parametrize("name", ["void", "Unlabelled", "_ignore_"])
def test_a_name_in_the_class_list_means_void(own, name):
    assert labels_of(own, [[0, 1, 2]] * 2, (name, "wall", "sky")) == (("wall", "sky"), [[255, 0, 1]] * 2)
    assert labels_of(own, [[0, 1, 2]] * 2, ("wall", name, "sky")) == (("wall", "sky"), [[0, 255, 1]] * 2)
    assert labels_of(own, [[0, 1, 2]] * 2, ("wall", "sky", name), void=[2, 9])[1] == [[0, 1, 255]] * 2


def test_void_that_is_also_a_class_is_a_mistake(own):
    with pytest.raises(InputError, match=r"void=0: .*'wall'.*classes\.txt, line 1"):
        labels_of(own, [[0, 1, 2]] * 2, ("wall", "sky"), void=[0])
    with pytest.raises(InputError, match=r"void: .*256"):
        open_dataset(own, void=[256])
    with pytest.raises(InputError, match="2 classes"):
        labels_of(own, [[0, 1, 2]] * 2, ("wall", "void"))
    (own / "colors.txt").write_text("wall 0 0 0\nsky 9 9 9")
    with pytest.raises(InputError, match=r"void=7: .*colors\.txt"):
        labels_of(own, [[0, 1, 2]] * 2, ("wall", "sky"), void=[7])


def test_ids_that_are_no_class_are_named_with_the_remedy(own):
    with pytest.raises(InputError, match=r"a\.png: .* 1 to 2.* id 7 at x=1, y=0 \(3 pixels of id 5, 7\).*void=5"):
        labels_of(own, [[0, 7, 2], [5, 5, 1]], ("void", "wall", "sky"))
    with pytest.raises(InputError, match="'void' before.*void=2"):
        labels_of(own, [[0, 1, 2]] * 2, ("wall", "sky"))


@pytest.mark.parametrize("rows", [[[0, 255, 255]] * 2, [[255, 255, 255]] * 2])
def test_masks_of_0_and_255_are_a_mistake_unless_255_is_declared_void(own, rows):
    with pytest.raises(InputError, match=r"a\.png: .*255.*'nothing 0 0 0' and 'road 255 255 255'.*void=255"):
        labels_of(own, rows, ("nothing", "road"))
    assert labels_of(own, rows, ("nothing", "road"), void=[255])[1] == rows
    assert labels_of(own, rows, ("nothing", "road", "sky"))[1] == rows
    (own / "colors.txt").write_text("nothing 0 0 0\nroad 255 255 255")
    assert labels_of(own, rows, ("nothing", "road"))[1] == (np.array(rows) // 255).tolist()


def test_what_is_no_data_set(own, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        open_dataset(tmp_path / "none")
    with pytest.raises(InputError, match="images and labels.*no folder"):
        open_dataset(own / "images")
    (own / "classes.txt").unlink()
    with pytest.raises(InputError, match=r"classes\.txt: no such file"):
        open_dataset(own)
    with pytest.raises(InputError, match=r"mine\.txt: cannot be read"):
        open_dataset(own, classes=own / "mine.txt")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name in ("b.png", "a.JPG", "more/c.png", ".hidden.png"):
        Image.new("RGB", (40, 20), "red").save(folder / name, format="PNG")
    write_labels(folder / "mask.png", np.zeros((20, 40), np.uint8))
    (folder / "notes.txt").write_text("")
    return folder


def test_a_folder_a_photo_and_a_data_set(photos, tiny_voc):
    found = choose_photos(photos)
    assert [s.name for s in found.images.samples] == ["a.JPG", "b.png", "more/c.png"]
    assert found.classes is None
    assert all(s.label is None for s in found.images.samples)
    assert [s.image for s in choose_photos(photos / "b.png").images.samples] == [photos / "b.png"]
    data = choose_photos(tiny_voc, training=True)
    assert (data.images.name, len(data.images), len(data.classes)) == ("train", 6, 21)
    assert all(s.label is not None for s in data.images.samples)
    with pytest.raises(InputError, match=r"val\.txt"):  # this data set has none
        choose_photos(tiny_voc)


def test_some_are_spread_and_the_rest_is_the_rest(photos):
    chosen, rest = choose_photos(photos).some(2)
    assert [s.name for s in chosen.samples] == ["a.JPG", "b.png"]
    assert [s.name for s in rest.samples] == ["more/c.png"]
    chosen, rest = choose_photos(photos).some(9)
    assert (len(chosen), len(rest)) == (3, 0)


def test_what_is_no_choice(photos, tmp_path):
    for path, options, says in (
        (tmp_path / "none", {}, "no such file or folder"),
        (photos / "more" / "..", {"listed": "val"}, "expected a data set"),
        (photos, {"classes": "classes.txt"}, "expected a data set"),
    ):
        with pytest.raises(InputError, match=says):
            choose_photos(path, **options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="expected images"):
        choose_photos(tmp_path / "empty")


def test_a_folder_that_cannot_be_listed_is_named(photos, monkeypatch):
    def walk(top, onerror):
        onerror(PermissionError(13, "Permission denied", str(photos / "more")))
        yield str(photos), ["more"], ["b.png"]

    monkeypatch.setattr(os, "walk", walk)
    with pytest.raises(InputError, match=r"more: .*Permission"):
        choose_photos(photos)
    errors = []
    assert list(files_below(photos, errors.append)) == [photos / "b.png"]
    assert [error.filename for error in errors] == [str(photos / "more")]


def test_links_in_circles_are_not_followed(photos):
    (photos / "more/up").symlink_to("..", target_is_directory=True)
    assert [s.name for s in choose_photos(photos).images.samples] == ["a.JPG", "b.png", "more/c.png"]


def test_large_photos_are_scaled_down(photos):
    assert read_at_most(photos / "b.png", 40).shape == (20, 40, 3)
    assert read_at_most(photos / "b.png", 30).shape == (15, 30, 3)

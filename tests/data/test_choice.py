import os

import numpy as np
import pytest
from PIL import Image

from atrous.data.dataset import choose_photos, files_below, read_at_most
from atrous.errors import InputError
from atrous.labelmap import write_labels


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
    with pytest.raises(InputError, match=r"more: cannot be read \(Permission denied\)"):
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

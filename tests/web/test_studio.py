import os
import time
from pathlib import Path

import numpy as np
import pytest

from atrous.data.metadata import CrfParameters
from atrous.segmenter import Segmenter
from atrous.web.files import Sweeper
from atrous.web.results import safe_stem
from atrous.web.studio import Kept, KeptPhotos, Studio

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_other_parameters_run_the_crf_alone(tiny_model, red_square, monkeypatch):
    segmenter = Segmenter(tiny_model, threads=1)
    studio = Studio(segmenter, "tiny")
    first = studio.segment(red_square, studio.parameters)
    kept = Kept(first.image, first.network, Path("photo.png"))
    other = CrfParameters(weight=1, sxy=9, srgb=40, iterations=2)
    expected = studio.segment(red_square, other).probabilities
    monkeypatch.setattr(type(segmenter.engine), "scores", lambda *_: pytest.fail("the network ran"))
    assert np.array_equal(studio.sharpen(kept, other).probabilities, expected)
    assert np.array_equal(studio.sharpen(kept, studio.parameters).probabilities, first.probabilities)


def test_photos_used_longest_ago_make_room():
    def kept(size):
        class Network:
            scores = np.zeros(0, np.float32)

        return Kept(np.zeros((size, 1, 3), np.uint8), Network(), Path("p"))

    photos = KeptPhotos(100)
    photos.put("a", kept(10))
    photos.put("b", kept(10))
    photos.get("a")
    photos.put("c", kept(20))
    assert [key for key in "abc" if photos.get(key)] == ["a", "c"]
    photos.put("d", kept(1000))
    assert len(photos) == 1
    photos.forget("d")
    assert photos.get("d") is None


def test_old_files_and_too_many_are_swept(tmp_path):
    def write(place, size, age):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(size))
        os.utime(path, (time.time() - age,) * 2)
        return path

    example = write("examples/cat.jpg", 10, 99_999)
    old, large, late, new = (
        write("a/old", 1, 3700),
        write("b/large", 80, 60),
        write("c/late", 30, 30),
        write("c/new", 20, 0),
    )
    Sweeper(tmp_path, 100).sweep()
    assert [path.exists() for path in (example, old, large, late, new)] == [True, False, False, True, True]
    assert not old.parent.exists()


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a b.jpg", "a_b"),
        ("../../etc/passwd", "passwd"),
        ("<b>.png", "b"),
        (".png", "png"),
        ("\u00e9t\u00e9.jpg", "\u00e9t\u00e9"),
        ("", "photo"),
    ],
)
def test_names_of_downloads(name, stem):
    assert safe_stem(name) == stem


@pytest.mark.parametrize("name", ["cat.jpg", "astronaut.jpg", "photographer.jpg"])
def test_the_examples_are_those_of_the_repository(name):
    import atrous.web

    assert (Path(atrous.web.__file__).parent / "examples" / name).read_bytes() == (EXAMPLES / name).read_bytes()

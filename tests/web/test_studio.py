import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from atrous.data.metadata import CrfParameters
from atrous.labelmap import write_labels
from atrous.segmenter import Segmenter
from atrous.web.files import Sweeper
from atrous.web.pictures import read_picture
from atrous.web.refused import Refused
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


def test_large_photos_are_computed_one_at_a_time(tiny_model, red_square, monkeypatch):
    studio = Studio(Segmenter(tiny_model, threads=1), "tiny")
    scores, begun, go, most = type(studio.segmenter.engine).scores, [], threading.Event(), []

    def slow(self, image):
        begun.append(image.shape)
        most.append(len(begun))
        assert go.wait(10)
        begun.pop()
        return scores(self, image)

    monkeypatch.setattr(type(studio.segmenter.engine), "scores", slow)
    for limit, at_once in ((1, 1), (10**9, 2)):
        monkeypatch.setattr("atrous.web.studio.LARGE", limit)
        most.clear()
        go.clear()
        with ThreadPoolExecutor(2) as pool:
            results = [pool.submit(studio.segment, red_square, studio.parameters) for _ in range(2)]
            time.sleep(0.2)
            go.set()
            assert all(result.result().labels.shape == (64, 96) for result in results)
        assert max(most) == at_once


def test_a_mask_of_too_many_labels_is_refused_before_it_takes_memory(tiny_model, red_square, tmp_path, monkeypatch):
    studio = Studio(Segmenter(tiny_model, threads=1), "tiny")
    write_labels(tmp_path / "rough.png", np.arange(64 * 96, dtype=np.uint8).reshape(64, 96) % 40)

    def refine():
        return studio.refine(red_square, tmp_path / "rough.png", "rough.png", 0.7, studio.parameters, 10_000)

    before, _ = refine()
    assert len(np.unique(before)) == 40
    monkeypatch.setattr("atrous.web.studio.MOST_NUMBERS", 39 * 64 * 96)
    monkeypatch.setattr("atrous.web.studio.read_probabilities", lambda *_: pytest.fail("taken"))
    with pytest.raises(Refused, match="rough.png: 40 labels on 0.00614 megapixels") as caught:
        refine()
    assert caught.value.status == 413


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


def test_an_upload_that_was_swept_is_to_be_dropped_again(tmp_path):
    with pytest.raises(Refused) as refused:
        read_picture(tmp_path / "secret" / "cat.jpg", "my cat.jpg", 10_000)
    assert refused.value.status == 415
    assert refused.value.message == "my cat.jpg: no longer here, uploads are kept for an hour; drop it again"


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

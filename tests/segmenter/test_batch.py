import threading
import time
from contextlib import closing

import numpy as np
import pytest

from atrous.errors import InputError
from atrous.image_io.decode import read_image
from atrous.segmenter import Segmenter
from atrous.segmenter import batch as pipeline
from atrous.segmenter.batch import segmented


@pytest.fixture
def photos():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (30 + 7 * i, 50, 3), dtype=np.uint8) for i in range(9)]


@pytest.fixture
def segmenter(tiny_model):
    return Segmenter(tiny_model, threads=3)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_it_is_what_the_segmenter_makes_of_each_in_order(segmenter, photos, threads):
    results = list(segmented(segmenter, photos, threads=threads))
    assert len(results) == len(photos)
    for photo, done in zip(photos, results, strict=True):
        alone = segmenter(photo)
        assert done.item is photo
        assert done.error is None
        assert done.seconds > 0
        assert np.array_equal(done.made.planes, alone.planes)
        assert np.array_equal(done.made.labels, alone.labels)
        assert np.array_equal(done.made.kept, alone.kept)


def test_no_items(segmenter):
    assert list(segmented(segmenter, [])) == []


def test_one_photos_error_is_its_own(segmenter, photos, tmp_path):
    items = [photos[0], tmp_path / "missing.jpg", photos[1], "bad", photos[2]]

    def finish(item, result):
        if item is photos[1]:
            raise OSError(28, "No space left on device")
        return result.labels.shape

    def read(item):
        return np.zeros((3, 3)) if isinstance(item, str) else item

    done = list(segmented(segmenter, items, read=read, finish=finish))
    assert [d.made for d in done] == [(30, 50), None, None, None, (44, 50)]
    assert [type(d.error) for d in done] == [type(None), InputError, OSError, InputError, type(None)]
    assert all(d.error is None or d.error.__traceback__ is None for d in done)


def test_the_sources_error_comes_after_the_items_before_it(segmenter, photos):
    def source():
        yield from photos[:3]
        raise OSError("the disk is gone")

    seen = []

    def collect():
        for done in segmented(segmenter, source()):
            seen.append(done.made.labels.shape[0])

    with pytest.raises(OSError, match="gone"):
        collect()
    assert seen == [30, 37, 44]


def test_few_items_are_begun_ahead_of_a_slow_caller(segmenter, photos):
    begun = []

    def source():
        for photo in photos:
            begun.append(photo)
            yield photo

    with closing(segmented(segmenter, source(), threads=1, ahead=1)) as results:
        next(results)
        time.sleep(0.1)
        assert len(begun) == 2  # one worker, one ahead
        next(results)
        assert len(begun) == 3


def test_several_photos_are_in_work_at_the_same_time(segmenter, photos):
    together = threading.Barrier(2, timeout=20)

    def read(photo):
        together.wait()
        return photo

    assert all(done.error is None for done in segmented(segmenter, photos[:4], read=read, threads=2, ahead=1))


def test_a_caller_who_leaves_stops_the_rest_and_nothing_goes_on(segmenter, photos):
    read, finished = [], []
    with closing(
        segmented(
            segmenter,
            photos * 20,
            read=lambda photo: read.append(1) or photo,
            finish=lambda *_: finished.append(1),
            threads=2,
        )
    ) as results:
        next(results)
    count = len(read), len(finished)
    assert count[0] < 12
    time.sleep(0.05)
    assert (len(read), len(finished)) == count
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("atrous-image")]


def test_what_is_not_yet_finished_is_dropped_between_two_steps(segmenter, photos, monkeypatch):
    reading, left = threading.Event(), threading.Event()
    finished = []

    def read(photo):
        if photo is photos[1]:
            reading.set()
            left.wait(20)
        return photo

    results = segmented(segmenter, photos, read=read, finish=lambda photo, _: finished.append(photo), threads=2)
    next(results)
    assert reading.wait(20)
    genuine = pipeline.ThreadPoolExecutor.shutdown
    monkeypatch.setattr(
        pipeline.ThreadPoolExecutor, "shutdown", lambda self, **options: (left.set(), genuine(self, **options))
    )
    results.close()
    assert not any(photo is photos[1] for photo in finished)


def test_large_photos_are_in_work_alone_with_all_threads(segmenter, photos, monkeypatch):
    monkeypatch.setattr(pipeline, "LARGE", 50 * 40)
    inside, seen = {}, []
    genuine = Segmenter.segment

    def segment(self, image, *, threads, **options):
        inside[id(image)] = image.size
        seen.append((image.size, threads, list(inside.values())))
        try:
            return genuine(self, image, threads=threads, **options)
        finally:
            del inside[id(image)]

    monkeypatch.setattr(Segmenter, "segment", segment)
    done = list(segmented(segmenter, photos, threads=4))
    assert all(d.error is None for d in done)
    for size, threads, together in seen:
        if size > 50 * 40 * 3:
            assert (threads, len(together)) == (4, 1)
        else:
            assert threads == 1


def test_an_engine_of_unknown_making_is_asked_by_one_thread_at_a_time(tiny_model, photos):
    class Engine:
        def __init__(self, engine):
            self.engine, self.inside, self.most = engine, 0, 0
            self.metadata = engine.metadata

        def scores(self, image):
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(0.005)
            scores = self.engine.scores(image)
            self.inside -= 1
            return scores

    engine = Engine(Segmenter(tiny_model).engine)
    list(segmented(Segmenter(engine), photos, threads=4))
    assert engine.most == 1


@pytest.mark.parametrize("options", [{"threads": 0}, {"ahead": -1}])
def test_arguments_are_checked_at_once(segmenter, options):
    with pytest.raises(InputError):
        segmented(segmenter, [], **options)


def test_pictures_and_paths(segmenter, photos, tmp_path):
    from PIL import Image

    Image.fromarray(photos[0]).save(tmp_path / "a.png")
    (done,) = segmented(segmenter, [tmp_path / "a.png"])
    assert done.made.source == tmp_path / "a.png"
    assert np.array_equal(done.made.image, read_image(tmp_path / "a.png"))

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from atrous.data.metadata import CrfParameters
from atrous.segmenter import Segmenter
from atrous.web import ServerSettings
from atrous.web.errors import RequestError
from atrous.web.service import Service, Session, Sessions, presets

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def service(tiny_model):
    return Service(Segmenter(tiny_model, threads=1), "tiny", ServerSettings())


def test_other_parameters_run_the_crf_alone(service, red_square, monkeypatch):
    first = service.segment(red_square, service.parameters)
    session = service.session(red_square)
    other = CrfParameters(weight=1, sxy=9, srgb=40, iterations=2)
    expected = service.segment(red_square, other).probabilities
    monkeypatch.setattr(type(service.segmenter.engine), "scores", lambda *_: pytest.fail("the network ran"))
    assert np.array_equal(service.run_crf(session, other).probabilities, expected)
    assert np.array_equal(service.run_crf(session, service.parameters).probabilities, first.probabilities)


def test_large_images_are_computed_one_at_a_time(service, red_square, monkeypatch):
    scores, started, go, most = type(service.segmenter.engine).scores, [], threading.Event(), []

    def slow(self, image):
        started.append(image.shape)
        most.append(len(started))
        assert go.wait(10)
        started.pop()
        return scores(self, image)

    monkeypatch.setattr(type(service.segmenter.engine), "scores", slow)
    for limit, at_once in ((1, 1), (10**9, 2)):
        monkeypatch.setattr("atrous.web.service.LARGE", limit)
        most.clear()
        go.clear()
        with ThreadPoolExecutor(2) as pool:
            results = [pool.submit(service.segment, red_square, service.parameters) for _ in range(2)]
            time.sleep(0.2)
            go.set()
            assert all(result.result().labels.shape == (64, 96) for result in results)
        assert max(most) == at_once


def test_too_many_labels_are_refused_before_they_take_memory(service, red_square, monkeypatch):
    labels = np.arange(64 * 96, dtype=np.uint8).reshape(64, 96) % 40

    def session():
        return service.session_of_labels(red_square, labels, "rough.png", 0.7)

    assert session().start[0].shape == (40, 64, 96)
    monkeypatch.setattr("atrous.web.service.MAX_VALUES", 39 * 64 * 96)
    monkeypatch.setattr("atrous.web.service.probabilities_from_labels", lambda *_: pytest.fail("taken"))
    with pytest.raises(RequestError, match=r"rough.png: .* got 0.246;") as caught:
        session()
    assert caught.value.status_code == 413


def test_presets_are_the_released_models():
    assert presets()["deeplab-msc-coco-largefov"] == CrfParameters(4, 59, 5)


def of_size(rows):
    return Session(np.zeros((rows, 1, 3), np.uint8), (), (), (np.zeros(0, np.float32), []), np.zeros(0, np.uint8))


def stored(sessions, keys):
    found = []
    for name, key in keys.items():
        with suppress(RequestError):
            sessions.get(key)
            found.append(name)
    return "".join(found)


def test_sessions_unused_for_longest_make_room():
    sessions = Sessions(ServerSettings(session_megabytes=100e-6, sessions=3))
    keys = {name: sessions.put(of_size(10)) for name in "ab"}
    sessions.get(keys["a"])
    keys["c"] = sessions.put(of_size(20))
    assert stored(sessions, keys) == "ac"
    keys["d"] = sessions.put(of_size(1000))  # alone too large, and needed all the same
    assert stored(sessions, keys) == "d"
    keys |= {name: sessions.put(of_size(0)) for name in "efgh"}
    assert stored(sessions, keys) == "fgh"
    sessions.close(keys["f"])
    sessions.close(keys["f"])
    assert (stored(sessions, keys), len(sessions)) == ("gh", 2)


def test_ids_are_random():
    sessions = Sessions(ServerSettings())
    keys = {sessions.put(of_size(1)) for _ in range(50)}
    assert len(keys) == 50
    assert min(map(len, keys)) >= 22  # of 64 characters: 128 bits


def test_ten_thousand_abandoned_sessions_leave_nothing():
    now = [0.0]
    sessions = Sessions(ServerSettings(), clock=lambda: now[0])
    used = sessions.put(of_size(1))
    for _ in range(10_000):
        now[0] += 0.1
        sessions.put(of_size(1))
        sessions.get(used)
    assert len(sessions) == 64
    for _ in range(3):  # an open page
        now[0] += 20
        sessions.get(used)
    assert len(sessions) == 1
    now[0] += 51
    sessions.sweep()
    assert len(sessions) == 0


@pytest.mark.parametrize("name", ["cat.jpg", "astronaut.jpg", "photographer.jpg"])
def test_the_examples_are_those_of_the_repository(name):
    from atrous.web.server import STATIC

    assert (STATIC / "examples" / name).read_bytes() == (EXAMPLES / name).read_bytes()

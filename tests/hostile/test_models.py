"""Crafted model files are refused in one line, or segment as the sound model does."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

pytest.importorskip("onnx", reason="needs the extra 'train'")

from models import EITHER, SAME, crafted_models, main

from atrous.backends.base import read_exported
from atrous.errors import InputError

ENGINES = [
    "onnxruntime",
    pytest.param("openvino", marks=pytest.mark.skipif(find_spec("openvino") is None, reason="needs 'openvino'")),
]


def outcomes(engine, *arguments, seconds):
    """Run `main` in a process of its own; return (name, expected, outcome, message) of each file."""
    command = [sys.executable, main.__code__.co_filename, engine, *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        status, printed, errors = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as error:
        status, printed, errors = "none: it hangs", (error.stdout or b"").decode(), ""
    lines = [json.loads(line) for line in printed.splitlines()]
    assert (status, errors) == (0, ""), f"ended with {lines[-1:]}"
    return [(*case, *outcome) for case, outcome in zip(lines[::2], lines[1::2], strict=True)]


def wrong(expected, outcome, message):
    """Whether a file did something else than it should."""
    if expected == EITHER:
        return outcome == "failed"
    if expected == SAME:
        return outcome != SAME
    return outcome != "refused" or not re.search(expected, message)


def test_the_files_are_the_same_for_a_seed_and_many():
    first, second, other = (list(crafted_models(seed)) for seed in (0, 0, 1))
    assert first == second
    assert first != other
    assert len({crafted.name for crafted in first}) == len(first) > 250


def test_most_are_refused_before_an_engine_sees_them(tmp_path):
    path = tmp_path / "model.onnx"
    read = {}
    for crafted in crafted_models():
        path.write_bytes(crafted.data)
        try:
            read[crafted.name] = read_exported(path)
        except InputError as caught:
            error = str(caught)
        else:
            continue
        assert "\n" not in error
        assert error.startswith(f"{path}: ")
        assert crafted.expected == EITHER or re.search(crafted.expected, error), f"{crafted.name}: {error}"
    assert len(read) < 40
    assert {name for name in read if name.startswith("metadata")} == {
        "metadata: an escaped surrogate",
        "metadata: another list",
        "metadata: classes that a terminal obeys",
        "metadata: no steps",
        "metadata: the largest",
        "metadata: the smallest",
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_the_others_do_on_an_engine_as_they_should(engine):
    found = outcomes(engine, 0, 24, "read", seconds=120)
    assert [case for case in found if wrong(*case[1:])] == []
    assert sum(outcome == SAME for _, _, outcome, _ in found) > 12
    assert sum(outcome == "refused" for _, _, outcome, _ in found) > 3


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_all_of_them_and_a_thousand_with_random_bytes(engine):
    found = outcomes(engine, 1, 1000, seconds=900)
    assert [case for case in found if wrong(*case[1:])] == []
    assert len(found) > 1200


def test_what_would_be_wrong():
    assert not wrong("channels", "refused", "model.onnx: of 4 channels")
    assert wrong("channels", "refused", "model.onnx: of 4 classes")
    assert wrong("channels", SAME, "")
    assert wrong(SAME, "segmented", "")
    assert wrong(EITHER, "failed", "IndexError")
    assert not wrong(EITHER, "segmented", "")

"""What is particular to OpenVINO."""

import ctypes
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

if find_spec("openvino") is None:
    pytest.skip("openvino is not installed: pip install 'atrous[openvino]'", allow_module_level=True)

from atrous.backends import OnnxEngine, OpenVinoEngine, bundled_model_path
from atrous.backends.openvino import streams_and_threads
from atrous.errors import InputError


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def bundled():
    try:
        path = bundled_model_path()
    except InputError as error:
        pytest.skip(str(error))
    return OnnxEngine(path), OpenVinoEngine(path)


def test_the_bundled_model_scores_as_on_onnx_runtime(bundled):
    with Image.open(Path(__file__).parents[2] / "examples" / "cat.jpg") as photo:
        image = np.asarray(photo.convert("RGB").resize((160, 120)))
    ours, theirs = (engine.scores(image) for engine in bundled)
    assert ours.shape == theirs.shape == (21, 16, 21)
    # An activation between two of its 8-bit steps may go to either: floats are summed in another order.
    assert np.abs(ours - theirs).max() < 0.03 * np.abs(ours).max()
    assert (ours.argmax(axis=0) == theirs.argmax(axis=0)).mean() > 0.99


def test_the_same_whatever_the_threads_and_whatever_came_before(bundled, red_square):
    engine = bundled[1]
    expected = engine.scores(red_square)
    for image in (red_square[:40], red_square[:, :33], red_square[:1, :1]):
        engine.scores(image)
    np.testing.assert_array_equal(engine.scores(red_square), expected)
    np.testing.assert_array_equal(OpenVinoEngine(engine.path, threads=1).scores(red_square), expected)


def test_nothing_is_computed_in_bfloat16(tiny_model):
    properties = OpenVinoEngine(tiny_model)._compiled
    assert properties.get_property("INFERENCE_PRECISION_HINT").to_dtype() == np.float32
    assert properties.get_property("ENABLE_CPU_PINNING") is False


@pytest.mark.parametrize(
    ("threads", "expected"), [(1, (4, 4)), (2, (2, 4)), (3, (1, 3)), (4, (1, 4)), (9, (1, 9)), (None, (1, 4))]
)
def test_photos_at_the_same_time_share_the_cores(threads, expected):
    assert streams_and_threads(threads, 4) == expected


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_sizes(bundled):
    # A size's kernels take 1 MiB; those of all sizes are kept unless the engine says otherwise.
    engine = OpenVinoEngine(bundled[1].path, threads=1)
    blank = np.zeros((257, 257, 3), np.uint8)
    sizes = [(32 * i + 1, 32 * j + 1) for i in range(9) for j in range(9)]
    for h, w in sizes[-25:]:
        engine.scores(blank[:h, :w])
    before = resident()
    for h, w in sizes[:-25]:
        engine.scores(blank[:h, :w])
    assert resident() - before < 40e6  # 56 sizes' kernels would be some 60e6


def test_a_processor_taken_away_is_not_used(tiny_model):
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to processors")
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from atrous.backends import OpenVinoEngine\n"
        f"engine = OpenVinoEngine({str(tiny_model)!r})\n"
        "import numpy; engine.scores(numpy.zeros((9, 9, 3), numpy.uint8))\n"
        "threads = map(int, os.listdir('/proc/self/task'))\n"
        "print(max(len(os.sched_getaffinity(thread)) for thread in threads))\n"
    )
    if not Path("/proc/self/task").is_dir():
        pytest.skip("threads are read from /proc")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_signals_are_served_where_they_were(tiny_model):
    class Stack(ctypes.Structure):
        _fields_ = [("at", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

    def stack():
        now = Stack()
        assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(now)) == 0
        return now.at, now.flags, now.size

    if not sys.platform.startswith("linux"):
        pytest.skip("only on Linux does OpenVINO put a stack of its own in place")
    before = stack()
    engine = OpenVinoEngine(tiny_model)
    assert stack() == before
    engine.scores(np.zeros((33, 33, 3), np.uint8))
    assert stack() == before


def test_first_calls_at_the_same_time_do_not_wait_for_each_other(tiny_model):
    program = """
import os, sys, threading
import numpy as np
from atrous.backends.openvino import OpenVinoEngine
sys.setswitchinterval(1e-5)
engine, together = OpenVinoEngine(sys.argv[1], threads=1), threading.Barrier(6)
def call():
    together.wait()
    engine.scores(np.zeros((33, 33, 3), np.uint8))
calls = [threading.Thread(target=call, daemon=True) for _ in range(6)]
for thread in calls: thread.start()
for thread in calls: thread.join(60)
os._exit(any(thread.is_alive() for thread in calls))
"""
    subprocess.run([sys.executable, "-c", program, str(tiny_model)], check=True, timeout=120)

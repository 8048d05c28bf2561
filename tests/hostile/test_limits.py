"""Limits of memory, files, threads and time."""

import os
import re
import signal

import numpy as np
import pytest
from command import MAIN, run
from PIL import Image

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX limits")

LINE = "Each image is segmented, or one line names the exhausted resource. No traceback, no truncated file."


@pytest.fixture
def segment(job):
    return job("segment")


def check_done_or_refused(segment, done, match):
    assert done.status in (0, 2), done
    done.check(done.status)
    segment.expected.check_so_far(segment.out, match)
    if done.status == 2:
        assert done.errors
        assert all(re.search(match, line) for line in done.errors), done.errors
    segment().done()
    segment.expected.check_all(segment.out, match)


@pytest.mark.fault("few file descriptors (ulimit -n)", LINE)
@pytest.mark.parametrize("most", [6, 10])
def test_few_descriptors(segment, most):
    done = run(*segment.arguments, limits={"RLIMIT_NOFILE": most})
    check_done_or_refused(segment, done, "Too many open files")


@pytest.mark.fault("little memory (ulimit -v)", LINE)
@pytest.mark.parametrize("mib", [180, 320])  # in less, NumPy itself cannot be imported
def test_little_memory(segment, mib):
    done = run(*segment.arguments, limits={"RLIMIT_AS": mib << 20})
    # glibc ends a process in which a new thread's variables find no memory. NumPy crashes if the buffer of an operation
    # finds none, because it raises the MemoryError without the GIL.
    if done.status in (127, -signal.SIGSEGV):
        assert done.status < 0 or b"cannot allocate memory for thread-local data" in done.err
        segment.expected.check_so_far(segment.out, "memory")
        done = segment()
    check_done_or_refused(segment, done, "memory|allocate|cannot be imported|more threads|codec configuration")


@pytest.mark.fault("too little memory for one large image among small ones", LINE)
def test_large_photo(draw, model, tmp_path):
    for name in ("a", "c"):
        draw(tmp_path / f"{name}.png")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (3000, 4000, 3), np.uint8)).save(tmp_path / "b.png", compress_level=0)
    done = run("segment", tmp_path, "--out", tmp_path / "out", *model, limits={"RLIMIT_AS": 900 << 20})
    done.refused("b.png.*memory")
    assert len(done.errors) == 1
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"a.png", "c.png"}


@pytest.mark.fault("no more processes and threads (ulimit -u)", LINE)
def test_no_threads(segment):
    if os.geteuid() == 0:
        pytest.skip("root has no such limit")
    done = run(*segment.arguments, limits={"RLIMIT_NPROC": 1})
    check_done_or_refused(segment, done, "thread")


@pytest.mark.fault("a small stack (ulimit -s)", LINE)
def test_small_stack(segment):
    done = run(*segment.arguments, limits={"RLIMIT_STACK": 512 << 10})
    check_done_or_refused(segment, done, "memory|thread")


@pytest.mark.fault("one processor, at the lowest priority", "The outputs are the same.")
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_one_processor(segment):
    one = "import os, sys; os.nice(19); os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n" + MAIN
    run(*segment.arguments, program=("-c", one)).done()
    segment.expected.check_all(segment.out, "one processor")

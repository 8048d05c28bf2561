"""Standard streams that are closed, full or read by nobody; what is printed then: tests/cli/test_terminal.py."""

import os
import sys
from pathlib import Path

import pytest
from command import run

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX descriptors")

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")

ALL = "All outputs are written; printed text is discarded."
REST = "The command ends without a traceback. Written files are complete; the same command completes the output."

# Closes descriptors, then becomes the command.
CLOSED = "import os, sys; [os.close(int(n)) for n in sys.argv[1]]; os.execv(sys.executable, sys.argv[2:])"


def closed(descriptors):
    return "-c", CLOSED, descriptors, sys.executable, "-m", "atrous"


@pytest.fixture
def segment(job):
    return job("segment")


@pytest.mark.parametrize(
    "descriptors",
    [
        pytest.param("0", marks=pytest.mark.fault("stdin closed", ALL)),
        pytest.param("1", marks=pytest.mark.fault("stdout closed", ALL)),
        pytest.param("2", marks=pytest.mark.fault("stderr closed", ALL)),
        pytest.param("012", marks=pytest.mark.fault("stdin, stdout and stderr closed", ALL)),
    ],
)
def test_closed(segment, descriptors):
    """With a photo that is not there, so that something is printed on both."""
    done = run(*segment.arguments, segment.out / "none.jpg", program=closed(descriptors), stdin=None)
    assert done.status == 2
    assert done.out.count(b"\n") == (0 if "1" in descriptors else 6)
    assert len(done.errors) == (0 if "2" in descriptors else 1)
    segment.expected.check_all(segment.out, descriptors)


@needs_full
@pytest.mark.fault("stderr on a full disk", ALL)
def test_stderr_full(segment):
    with FULL.open("wb") as full:
        done = run(*segment.arguments, segment.out / "none.jpg", stderr=full)
    assert done.status == 2
    segment.expected.check_all(segment.out, "stderr full")


@needs_full
@pytest.mark.fault("stdout on a full disk", REST)
def test_stdout_full(segment):
    with FULL.open("wb") as full:
        run(*segment.arguments, stdout=full).refused("No space left", status=1)
    _does_the_rest(segment)


@pytest.mark.fault("a closed pipe on stdout", REST)
def test_reader_gone(segment):
    read, write = os.pipe()
    os.close(read)
    done = run(*segment.arguments, stdout=write)
    os.close(write)
    done.check(1)
    assert done.err == b""
    _does_the_rest(segment)


def _does_the_rest(segment):
    segment.expected.check_so_far(segment.out, "nobody reads")
    assert not list(segment.out.rglob("*.tmp"))
    segment().done()
    segment.expected.check_all(segment.out, "nobody read")

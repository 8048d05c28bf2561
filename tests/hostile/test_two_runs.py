"""Two runs at the same time, in the same folder."""

import os

import pytest
from command import end, finish, start

posix = pytest.mark.skipif(os.name == "nt", reason="files that are open cannot be replaced on Windows")


def both(*commands, **options):
    """Run commands at the same time."""
    processes = [start(*command, **options) for command in commands]
    try:
        return [finish(process) for process in processes]
    finally:
        for process in processes:
            end(process)


@posix
@pytest.mark.fault(
    "two runs of `atrous segment` in one folder", "Both finish. Every output is complete; no temporary file remains."
)
def test_two_segment(job):
    segment = job("segment")
    for done in both(segment.arguments, segment.arguments):
        done.done()
    segment.expected.check_all(segment.out, "two runs")


@posix
@pytest.mark.slow
@pytest.mark.fault(
    "two runs of `atrous tune` with one table",
    "Every line of the table is complete; a further run gives the same result.",
)
def test_two_tune(job):
    tune = job("tune")
    for done in both(tune.arguments, tune.arguments):
        assert done.status in (0, 2), done
        assert b"Traceback" not in done.err
    again = tune()
    assert again.status == 0, again
    assert (tune.out / "crf.json").read_bytes() == tune.expected.files["crf.json"]


@posix
@pytest.mark.slow
@pytest.mark.fault(
    "two runs of `atrous bulk` in one folder",
    "Both finish, or one reports that another run uses the folder. Every mask is complete.",
)
def test_two_bulk(job):
    bulk = job("bulk")
    for done in both(bulk.arguments, bulk.arguments, env={"RAY_worker_niceness": "0"}):
        assert done.status in (0, 2), done
        assert b"Traceback" not in done.err
    again = bulk()
    assert again.status == 0, again
    for name, content in bulk.expected.files.items():
        if name.endswith(".png"):
            assert (bulk.out / name).read_bytes() == content

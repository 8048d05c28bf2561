"""Killed at any file operation, a command leaves whole files, and run again it does the rest."""

import signal

import pytest
from forks import points

KILLED = (
    "Files at their names are whole; the same command again leaves what an uninterrupted run leaves, and nothing else."
)
STOPPED = (
    "The command ends at once, in one line if it can speak; what it has written is whole, and it can be run again."
)
# Operations of each that are tried in the short suite; the long one tries all.
SOME = {"segment": 5, "refine": 2, "evaluate": 1, "tune": 1, "bulk": 2}
ALL = (*SOME, "convert", "train", "export")


def named(name, *values):
    return pytest.param(name, *values, id=name, marks=pytest.mark.fault(f"SIGKILL at any moment: {name}", KILLED))


def kill_and_run_again(job, most):
    for at in points(job.operations, most):
        job.clear()
        run = job(fault=job.fault(at, signal=signal.SIGKILL))
        # Threads take turns in another order each time: a run may end before its last operations are reached.
        assert run.status in (-signal.SIGKILL, 0)
        when = f"killed at {at} of {job.operations}"
        job.expected.check_so_far(job.out, when)
        again = job()
        assert again.status == 0, (when, again.err)
        assert b"Traceback" not in again.err
        job.expected.check_all(job.out, when)


@pytest.mark.parametrize(("name", "most"), [named(name, most) for name, most in SOME.items()])
def test_killed_at_some_operations(job, name, most):
    kill_and_run_again(job(name), most)


@pytest.mark.slow
@pytest.mark.parametrize("name", [named(name) for name in ALL])
def test_killed_at_each_operation(job, name):
    kill_and_run_again(job(name), 1000)


@pytest.mark.slow
@pytest.mark.fault("SIGKILL 20 times in one folder", KILLED)
def test_killed_twenty_times(job):
    run = job("segment")
    for at in points(run.operations, 20):
        run(fault=run.fault(at, signal=signal.SIGKILL))
        run.expected.check_so_far(run.out, f"killed at {at}")
    run()
    run.expected.check_all(run.out, "killed 20 times")


@pytest.mark.parametrize(
    "name", ["segment", "evaluate", *(pytest.param(name, marks=SLOW) for name in ("tune", "bulk", "convert"))]
)
@pytest.mark.fault("Ctrl-C (SIGINT) in a run", STOPPED)
def test_ctrl_c(job, name):
    run = job(name)
    for at in points(run.operations, 1):
        run.clear()
        stopped = run(fault=run.fault(at, signal=signal.SIGINT))
        stopped.check(130)
        assert not list(run.out.rglob("*.tmp"))
        run.expected.check_so_far(run.out, "interrupted")
        assert run().status == 0
        run.expected.check_all(run.out, "interrupted")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.fault("SIGTERM or SIGHUP in a run", STOPPED)
def test_terminated(job, number):
    run = job("segment")
    stopped = run(fault=run.fault(run.operations // 2, signal=number))
    assert stopped.status in (-number, 128 + number, 130)
    assert b"Traceback" not in stopped.err
    run.expected.check_so_far(run.out, "terminated")
    run().done()
    run.expected.check_all(run.out, "terminated")

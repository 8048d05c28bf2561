"""Killed at any file operation, a command leaves whole files, and run again it does the rest."""

import signal

import pytest
from forks import points

KILLED = "Output files are complete. Running the command again gives the same files as an uninterrupted run."
STOPPED = (
    "The command stops and prints one line if stderr is open. Written files are complete; run it again to continue."
)
# File operations of each command that are tried in the short suite, and in the long one.
SOME = {"segment": 5, "refine": 2, "evaluate": 1, "tune": 1, "bulk": 2}
MANY = {**dict.fromkeys(SOME, 1000), "convert": 1000, "train": 30, "export": 8}


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


@pytest.mark.fault("SIGKILL at a file operation", KILLED)
@pytest.mark.parametrize("name", SOME)
def test_killed_at_some_operations(job, name):
    kill_and_run_again(job(name), SOME[name])


@pytest.mark.slow
@pytest.mark.fault("SIGKILL at a file operation", KILLED)
@pytest.mark.parametrize("name", MANY)
def test_killed_at_many_operations(job, name):
    kill_and_run_again(job(name), MANY[name])


@pytest.mark.slow
@pytest.mark.fault("20 SIGKILLs in one folder", KILLED)
def test_killed_twenty_times(job):
    run = job("segment")
    for at in points(run.operations, 20):
        run(fault=run.fault(at, signal=signal.SIGKILL))
        run.expected.check_so_far(run.out, f"killed at {at}")
    run()
    run.expected.check_all(run.out, "killed 20 times")


@pytest.mark.fault("Ctrl-C", STOPPED)
@pytest.mark.parametrize(
    "name", ["segment", "evaluate", *(pytest.param(n, marks=pytest.mark.slow) for n in ("tune", "bulk", "convert"))]
)
def test_ctrl_c(job, name):
    run = job(name)
    for at in points(run.operations, 1):
        run.clear()
        stopped = run(fault=run.fault(at, signal=signal.SIGINT))
        stopped.check(130)
        # Ray kills its workers; what they leave, the next run removes.
        assert not [path for path in run.out.rglob("*.tmp") if path.parent != run.out / "_bulk/tmp"]
        run.expected.check_so_far(run.out, "interrupted")
        assert run().status == 0
        run.expected.check_all(run.out, "interrupted")


@pytest.mark.fault("SIGTERM or SIGHUP", STOPPED)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_terminated(job, number):
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("the tests were started by nohup")
    run = job("segment")
    stopped = run(fault=run.fault(run.operations // 2, signal=number))
    assert stopped.status == 130
    assert b"interrupted" in stopped.err
    assert b"Traceback" not in stopped.err
    run.expected.check_so_far(run.out, "terminated")
    run().done()
    run.expected.check_all(run.out, "terminated")

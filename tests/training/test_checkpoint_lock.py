import subprocess
import sys

import pytest

from atrous.errors import InputError
from atrous.training.checkpoint import LOCK, run_lock

pytest.importorskip("fcntl", reason="needs file locks of POSIX")

HOLD = """
import sys, pathlib
from atrous.training.checkpoint import run_lock
with run_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_folder_is_one_runs_at_a_time(tmp_path, other):
    with (
        pytest.raises(InputError, match=rf"run: .*process {other.pid} "),
        run_lock(tmp_path / "run"),
    ):
        pytest.fail("two runs in one folder")
    # A run that is killed holds nothing.
    other.kill()
    other.wait()
    with run_lock(tmp_path / "run"):
        pass


def test_a_run_may_follow_a_run(tmp_path):
    for _ in range(2):
        with run_lock(tmp_path):
            assert (tmp_path / LOCK).is_file()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file"), run_lock(tmp_path / "file"):
        pass

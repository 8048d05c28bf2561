"""Run `atrous` in a process of its own, in a place where something is wrong."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
NARROW = TESTS / "training/narrow.py"  # the command line with networks of a few channels
KILLED = -signal.SIGKILL if os.name == "posix" else 1

# The command, as the end of a program that does something else first.
MAIN = "import sys; from atrous.cli import main; sys.argv[0] = 'atrous'; main()"

# Bytes that a terminal obeys: C0 but the newline, DEL, and C1 as UTF-8.
CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")


@dataclass(frozen=True)
class Mount:
    """A file system laid over a folder, for one process and its children.

    Attributes
    ----------
    at : Path
    size : str or None
        A tmpfs of that size ("256k"); None binds what is there already.
    readonly : bool
    keep : Path, optional
        Where what is in it is copied when the process has ended.
    """

    at: Path | str
    size: str | None = None
    readonly: bool = False
    keep: Path | None = None


@dataclass(frozen=True)
class Finished:
    """How a command ended.

    Attributes
    ----------
    status : int
        Negative if a signal ended it.
    out, err : bytes
    """

    status: int
    out: bytes
    err: bytes

    @property
    def errors(self) -> list[str]:
        """The lines on stderr that begin with "error: ", without that."""
        lines = self.err.decode(errors="replace").splitlines()
        return [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]

    def check(self, status: int) -> "Finished":
        """Hold the command to its exit status, and to printing nothing but lines for people."""
        assert self.status == status, self
        assert b"Traceback" not in self.err + self.out, self.err.decode(errors="replace")
        assert not CONTROL.search(self.out + self.err), self
        return self

    def done(self) -> "Finished":
        """Hold the command to have done all it was asked for."""
        self.check(0)
        assert self.errors == []
        return self

    def refused(self, match: str, status: int = 2) -> "Finished":
        """Hold the command to one line of error or more, one of which matches."""
        self.check(status)
        assert any(re.search(match, line) for line in self.errors), self.err.decode(errors="replace")
        return self


def start(
    *arguments: object,
    program: Sequence[object] = ("-m", "atrous"),
    env: Mapping[str, object] | None = None,
    without: Sequence[str] = (),
    limits: Mapping[str, int] | None = None,
    mounts: Sequence[Mount] = (),
    unprivileged: bool = False,
    umask: int = -1,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start a command.

    Parameters
    ----------
    *arguments
        Of `atrous`.
    program : sequence
        What Python runs.
    env, without
        Variables of the environment to add, and to leave out.
    limits : mapping
        The name of a limit such as "RLIMIT_NOFILE", and its value.
    mounts : sequence of Mount
        The test is skipped where the kernel does not allow them.
    unprivileged : bool
        Take root's privileges away, so that permissions count.
    umask : int
    **options
        Of `subprocess.Popen`.
    """
    command = [sys.executable, *map(str, program), *map(str, arguments)]
    if unprivileged:
        command = [*without_privileges(bool(mounts)), *command]
    if mounts:
        command = _with_mounts(mounts, command)
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **(env or {})}
    for name in without:
        environment.pop(name, None)
    settings: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "env": {name: str(value) for name, value in environment.items()},
        **options,
    }
    if os.name == "posix":
        settings = {"start_new_session": True, "umask": umask, **settings}

        def prepare() -> None:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup, around the tests, ignores
            set_limits(limits or {})

        settings["preexec_fn"] = prepare
    return subprocess.Popen(command, **settings)


def finish(process: subprocess.Popen[bytes], timeout: float = 120) -> Finished:
    """Wait for a command's end; one that does not end is killed and fails the test."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        end(process)
        out, err = process.communicate()
        pytest.fail(f"{process.args} has not ended after {timeout} s: {out!r} {err!r}")
    return Finished(process.returncode, out or b"", err or b"")


def run(*arguments: object, timeout: float = 120, **options: Any) -> Finished:
    """Start a command and wait for its end; for the options see `start`."""
    with started(*arguments, **options) as process:
        return finish(process, timeout)


@contextmanager
def started(*arguments: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command; nothing of it is left when the block ends."""
    process = start(*arguments, **options)
    try:
        yield process
    finally:
        end(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a command and the processes that it started."""
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    process.wait()


def without_privileges(in_namespace: bool = False) -> list[str]:
    """Return the start of a command line that takes root's right to ignore permissions away."""
    if os.name != "posix":
        pytest.skip("needs POSIX permissions")
    if os.geteuid() != 0 and not in_namespace:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv, as root ignores permissions")
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]


@cache
def can_mount() -> bool:
    """Whether a process may have file systems of its own."""
    if shutil.which("unshare") is None:
        return False
    script = "mount -t tmpfs -o size=64k none /dev/shm"
    return subprocess.run([*_unshare(), "sh", "-c", script], capture_output=True).returncode == 0


def _unshare() -> list[str]:
    return ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount", "--"]


def _with_mounts(mounts: Sequence[Mount], command: list[str]) -> list[str]:
    if not can_mount():
        pytest.skip("needs mount namespaces (unshare)")
    before, after = [], []
    for mount in mounts:
        at = shlex.quote(os.fspath(mount.at))
        if mount.size is not None:
            before.append(f"mount -t tmpfs -o size={mount.size} none {at}")
        elif mount.readonly:
            before.append(f"mount --bind {at} {at}")
        if mount.readonly:
            before.append(f"mount -o remount,bind,ro {at}")
        if mount.keep is not None:
            after.append(f"cp -a {at}/. {shlex.quote(os.fspath(mount.keep))}")
    script = "\n".join(["set -e", *before, "status=0", '"$@" || status=$?', *after, "exit $status"])
    return [*_unshare(), "sh", "-c", script, "sh", *command]


def set_limits(limits: Mapping[str, int]) -> None:
    """Limit this process, soft and hard."""
    import resource

    for name, value in limits.items():
        resource.setrlimit(getattr(resource, name), (value, value))

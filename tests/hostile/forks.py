"""Commands in forks of one process that has imported everything once, each with a fault at a chosen moment.

A run of `atrous train` takes seconds of imports and tenths of a second of work; a fork takes the tenths alone. Run as
a program it answers requests, a line of JSON each; `Forks` is the other end.

The moments are the file operations of the run that concern one folder: opening, making, renaming, linking, removing,
syncing. At the n-th of them, or after a time, the process is killed, gets a signal, or the operation fails.
"""

import importlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from command import Finished, set_limits

EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate")


@dataclass(frozen=True)
class Fault:
    """Something that happens to a run.

    Attributes
    ----------
    folder : str
        The operations on this folder and below are counted, with its own entry beside it.
    at : int, optional
        The operation, from 1, at which it happens; None: only count.
    signal : int, optional
        Sent to the process itself, before the operation.
    error : int, optional
        The operation fails with that errno, and each one after it where `stays`.
    stays : bool
        As a full disk does.
    after : float, optional
        Seconds after the start, instead of `at`; for signals.
    """

    folder: str
    at: int | None = None
    signal: int | None = None
    error: int | None = None
    stays: bool = False
    after: float | None = None


@dataclass(frozen=True)
class Run(Finished):
    """How a forked command ended, and the file operations that were counted."""

    operations: int = 0


class Forks:
    """A process that forks a child for each command.

    Parameters
    ----------
    *imports : str
        Modules that the process imports before it forks.
    narrow : bool
        Networks of a few channels.
    """

    def __init__(self, *imports: str, narrow: bool = False) -> None:
        command = [sys.executable, __file__, *imports, *(["--narrow"] if narrow else [])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def __call__(
        self,
        *arguments: object,
        fault: Fault | None = None,
        limits: Mapping[str, int] | None = None,
        timeout: float = 120,
    ) -> Run:
        """Run `atrous` with these arguments, within limits such as {"RLIMIT_FSIZE": 1000}."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "arguments": list(map(str, arguments)),
            "fault": None if fault is None else asdict(fault),
            "limits": dict(limits or {}),
            "timeout": timeout,
        }
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        assert not answer.pop("late"), f"{arguments} has not ended after {timeout} s: {answer}"
        answer |= {name: answer[name].encode("utf-8", "surrogateescape") for name in ("out", "err")}
        return Run(**answer)


def points(count: int, most: int, seed: int = 0) -> list[int]:
    """Return operations 1 to `count`, or `most` of them: the first, the last and others at random."""
    if count <= most:
        return list(range(1, count + 1))
    if most < 3:
        return sorted(random.Random(seed).sample(range(1, count + 1), most))
    between = random.Random(seed).sample(range(2, count), most - 2)
    return [1, *sorted(between), count]


def _serve(imports: Sequence[str], narrow: bool) -> None:
    for name in imports:
        with suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(name)
    if "atrous.bulk.driver" in sys.modules:
        _run_bulk_here()
    if narrow:
        sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
        import narrow as module

        module.make_narrow()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_run(**request)), file=answers, flush=True)


def _run_bulk_here() -> None:
    """Let `atrous bulk` segment in its own process, without Ray: the same shards, by the same class."""
    import pyarrow as pa

    from atrous.bulk import driver
    from atrous.bulk.actor import ShardSegmenter

    @contextmanager
    def connect(address: object, actors: object) -> Iterator[int]:
        yield 1

    def execute(job: Any, model: Any, shards: Any, actors: object, count: int) -> Iterator[dict[str, Any]]:
        worker = ShardSegmenter(job, model)
        for shard, entries in shards:
            yield from worker(pa.table({"shard": [shard], "entries": [entries]})).to_pylist()

    driver.connected, driver.execute = connect, execute


def _run(arguments: list[str], fault: dict[str, Any] | None, limits: dict[str, int], timeout: float) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as counted:
        child = os.fork()
        if child == 0:
            _child(arguments, fault, limits, out.fileno(), err.fileno(), counted.fileno())
        status, late = _ended(child, timeout, fault)
        for file in (out, err, counted):
            file.seek(0)
        return {
            "status": status,
            "late": late,
            "out": out.read().decode("utf-8", "surrogateescape"),
            "err": err.read().decode("utf-8", "surrogateescape"),
            "operations": len(counted.read()),
        }


def _ended(child: int, timeout: float, fault: dict[str, Any] | None) -> tuple[int, bool]:
    begun, status, late = time.monotonic(), 0, False
    due = None if fault is None else fault["after"]
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        now = time.monotonic() - begun
        if due is not None and fault is not None and now >= due:
            os.kill(child, fault["signal"])
            due = None
        if now > timeout:
            late = True
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.002)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what it started
    return os.waitstatus_to_exitcode(status), late


def _child(
    arguments: list[str],
    fault: dict[str, Any] | None,
    limits: dict[str, int],
    out: int,
    err: int,
    counted: int,
) -> None:
    """Be the command; never returns."""
    status = 1
    try:
        os.setsid()
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), errors="strict")
        sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), errors="backslashreplace", line_buffering=True)
        set_limits(limits)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["atrous", *arguments]
        if fault is not None:
            _arm(Fault(**fault), counted)
        from atrous.cli import main

        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        sys.stdout.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _arm(fault: Fault, counted: int) -> None:
    """Let the fault happen at its moment in this process."""
    here, count, happening = os.getpid(), 0, False

    def moment(path: object) -> None:
        nonlocal count, happening
        if happening or os.getpid() != here:  # not in a process that prefetches data
            return
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        if not os.path.abspath(os.fsdecode(path)).startswith(fault.folder):  # noqa: PTH100
            return
        happening = True
        os.write(counted, b".")
        happening = False
        count += 1
        if fault.at is None or not (count == fault.at or (fault.stays and count > fault.at)):
            return
        if fault.signal is not None:
            os.kill(here, fault.signal)
        elif fault.error is not None:
            raise OSError(fault.error, os.strerror(fault.error), os.fsdecode(path))

    def told(event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS and arguments and not (event == "open" and _only_reads(arguments)):
            moment(arguments[0])

    sys.addaudithook(told)
    os.fsync = _counted(os.fsync, moment)


def _only_reads(arguments: tuple[Any, ...]) -> bool:
    flags = arguments[2] if len(arguments) > 2 else 0
    return isinstance(flags, int) and not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)


def _counted(call: Callable[[int], None], moment: Callable[[object], None]) -> Callable[[int], None]:
    """Return a function of a descriptor that is a moment too, where the system tells its path."""

    def counted(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        try:
            path: object = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
        except OSError:
            path = None
        moment(path)
        call(descriptor)

    return counted


if __name__ == "__main__":
    _serve([name for name in sys.argv[1:] if not name.startswith("-")], "--narrow" in sys.argv)

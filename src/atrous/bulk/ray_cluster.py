"""Ray: a cluster to run on, and parts through a pool of actors."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from .._cpu_count import processors
from .._quiet_imports import disable_telemetry
from ..errors import InputError, MissingExtra
from ._local_ray import check_loopback, private_folder, ray_folder, this_machine_alone
from .actor import PartSegmenter
from .config import Job, ModelFiles

# Of a local run: the plan, the model and little else pass through it; the least that Ray takes is 75 MiB.
OBJECT_STORE = 300 * 2**20
IN_FLIGHT = 2  # parts that an actor has been given, so that it need not wait for the next one


@dataclass(frozen=True)
class Actors:
    """How many actors, and what each of them holds.

    Attributes
    ----------
    count : int, optional
        At most so many; if left out, as many as fit in the cluster as it is.
    cpus : int
        Of an actor; network and CRF use as many threads.
    gpus : float
        Of an actor; without one the network computes on the CPU. 0.5 puts two actors on a GPU.
    """

    count: int | None = None
    cpus: int = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise InputError(f"actors={self.count}: expected at least 1")
        if self.cpus < 1:
            raise InputError(f"cpus={self.cpus}: expected at least 1 for an actor")
        if self.gpus < 0 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise InputError(f"gpus={self.gpus}: expected a share of one GPU or whole GPUs for an actor")


@contextmanager
def connected(address: str | None, actors: Actors) -> Iterator[int]:
    """Connect to a cluster, or start one on this machine, and yield the number of actors.

    Parameters
    ----------
    address : str, optional
        "auto" or host:port; a cluster on this machine, gone afterward, if left out.
    actors : Actors

    Raises
    ------
    InputError
        If there is no cluster at the address, or no actor fits in.
    """
    disable_telemetry("ray")
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtra("ray is not installed: atrous bulk needs the extra, pip install 'atrous[bulk]'") from None
    with ExitStack() as stack:
        begun = not ray.is_initialized()
        if begun:
            folder = stack.enter_context(private_folder(sockets=address is None))
            stack.enter_context(_native_stderr_to(folder / "ray.err"))
            # A thread of Ray's prints there, whatever it is told, that a worker is lost and will be replaced.
            notes = stack.enter_context((folder / "ray.out").open("w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(notes))
            if address is None:
                stack.enter_context(this_machine_alone())
            stack.callback(ray.shutdown)
            stack.enter_context(_terminated_as_interrupted(lambda: _start(address, actors, folder)))
        yield actors.count or _fitting(ray.nodes(), actors)  # type: ignore[no-untyped-call]


def execute(
    job: Job, model: ModelFiles, parts: Iterable[tuple[int, bytes]], actors: Actors, count: int
) -> Iterator[dict[str, Any]]:
    """Yield the result of each part, in the order in which they end.

    Parameters
    ----------
    parts : iterable of (number, Arrow stream of its photos)
    count : int
        Actors at most.

    Raises
    ------
    InputError
        If Ray gives up.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # a part may take as long as its photos do
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    reference = ray.put(model)
    rows = [pa.table({"part": [part], "photos": [photos]}) for part, photos in parts]
    # Ray Data starts a killed actor again, on another machine if its own is gone, and has its parts done again, as
    # often as it takes. Nothing but the plan and part numbers passes through its memory.
    results = ray.data.from_arrow(rows).map_batches(
        _Actor,
        fn_constructor_args=(job, [reference]),
        batch_size=1,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ActorPoolStrategy(
            min_size=1,
            max_size=count,
            initial_size=min(count, len(rows)),
            max_tasks_in_flight_per_actor=IN_FLIGHT,
        ),
        num_cpus=actors.cpus,
        num_gpus=actors.gpus or None,
    )
    try:
        yield from results.iter_rows()
    except KeyboardInterrupt:
        raise
    except Exception as error:  # whatever a worker died of, wrapped several times
        raise InputError(f"Ray gave up: {_cause(error)}") from error


class _Actor(PartSegmenter):
    """Takes the model from the object store, where one copy serves a machine."""

    def __init__(self, job: Job, model: list[Any]) -> None:
        import ray

        super().__init__(job, ray.get(model[0]))


def _start(address: str | None, actors: Actors, folder: Path) -> None:
    import ray

    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    try:
        if address is None:
            ray.init(
                "local",
                num_cpus=max(processors(), actors.cpus * (actors.count or 1)),
                include_dashboard=False,
                object_store_memory=OBJECT_STORE,
                _temp_dir=ray_folder(folder),
                **quiet,
            )
            check_loopback(ray.nodes())  # type: ignore[no-untyped-call]
        else:
            _knock(address)
            ray.init(address, **quiet)
    except (Exception, SystemExit) as error:
        if address is None:
            raise InputError(f"Ray cannot be started on this machine ({_cause(error)})") from None
        raise InputError(
            f"--ray-address {address}: no Ray cluster can be reached there ({_cause(error)});"
            " expected auto or host:port"
        ) from None


def _knock(address: str) -> None:
    """Fail at once where nobody listens; Ray tries for many minutes."""
    host, colon, port = address.rpartition(":")
    if colon and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _fitting(nodes: list[dict[str, Any]], actors: Actors) -> int:
    """Return how many actors fit in the machines of a cluster."""
    count = 0
    for node in nodes:
        if node.get("Alive"):
            resources = node.get("Resources", {})
            fits = int(resources.get("CPU", 0) // actors.cpus)
            if actors.gpus:
                share = resources.get("GPU", 0)
                fits = min(fits, int(share // actors.gpus) if actors.gpus >= 1 else int(share) * int(1 // actors.gpus))
            count += fits
    if not count:
        what = f"{actors.cpus} CPUs" + (f" and {actors.gpus:g} GPUs" if actors.gpus else "")
        raise InputError(
            f"no machine of the cluster has {what} for an actor; ask for less (--cpus, --gpus), or give --actors if"
            " machines are still to come"
        )
    return count


@contextmanager
def _terminated_as_interrupted(start: Callable[[], None]) -> Iterator[None]:
    """Start Ray, then let SIGTERM tidy up as Ctrl-C does: as Ray takes it, its folder would stay behind."""
    if threading.current_thread() is not threading.main_thread():
        start()
        yield
        return
    before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    try:
        start()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _native_stderr_to(path: Path) -> Iterator[None]:
    """Send what libraries write to the process' standard error to a file; Python's own `sys.stderr` stays."""
    try:
        ours = sys.stderr.fileno() == 2
    except (OSError, ValueError, AttributeError):
        ours = False
    before = sys.stderr
    saved = os.dup(2)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        if ours:
            before.flush()
            sys.stderr = os.fdopen(os.dup(saved), "w", 1, before.encoding, before.errors, closefd=True)
        os.dup2(handle, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(handle)
        if ours:
            with suppress(OSError):
                sys.stderr.close()
            sys.stderr = before


def _cause(error: BaseException) -> str:
    """Return the innermost message, on one line."""
    seen = error
    while (inner := getattr(seen, "cause", None) or seen.__cause__) and inner is not seen:
        if not isinstance(inner, BaseException):
            break
        seen = inner
    lines = [line.strip() for line in str(seen).splitlines() if line.strip()]
    return (lines[-1] if lines else type(seen).__name__)[:300]

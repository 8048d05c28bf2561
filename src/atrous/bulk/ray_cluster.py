"""Connection to a Ray cluster, and a pool of actors that segments shards."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from .._quiet_imports import disable_telemetry
from .._resources import processors
from ..errors import InputError, MissingExtra, RunError
from ._local_ray import check_loopback, private_folder, ray_folder, this_machine_alone
from .actor import ShardSegmenter
from .config import Job, ModelFiles

OBJECT_STORE = 300 * 2**20  # bytes of a local cluster, for the plan and the model; Ray's minimum is 75 MiB
IN_FLIGHT = 2  # shards per actor, one of them waiting in its queue


@dataclass(frozen=True)
class Actors:
    """Number of actors, and the resources of each.

    Attributes
    ----------
    count : int, optional
        Maximum number of actors. Default: as many as fit in the current cluster.
    cpus : int
        CPUs per actor, which are also the threads of its network and CRF.
    gpus : float
        GPUs per actor; 0.5 puts two actors on one GPU. With 0 the network runs on the CPU.
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
    """Connect to a cluster ("auto" or host:port), or start one on this machine; yield the number of actors."""
    disable_telemetry("ray")
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtra.of("ray is not installed, but atrous bulk needs it", "bulk") from None
    with ExitStack() as stack:
        if not ray.is_initialized():
            folder = stack.enter_context(private_folder(sockets=address is None))
            stack.enter_context(_native_stderr_to(folder / "ray.err"))
            # A thread of Ray's prints there that a lost worker will be replaced, regardless of Ray's settings.
            notes = stack.enter_context((folder / "ray.out").open("w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(notes))
            if address is None:
                stack.enter_context(this_machine_alone())
            stack.callback(ray.shutdown)
            in_main_thread = threading.current_thread() is threading.main_thread()
            if in_main_thread:
                stack.callback(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
            _start(address, actors, folder)
            if in_main_thread:  # clean up as after Ctrl-C; Ray's own handler does not delete its folder
                signal.signal(signal.SIGTERM, signal.default_int_handler)
        yield actors.count or _fitting(ray.nodes(), actors)  # type: ignore[no-untyped-call]


def execute(
    job: Job, model: ModelFiles, shards: Iterable[tuple[int, bytes]], actors: Actors, count: int
) -> Iterator[dict[str, Any]]:
    """Yield the outcome of each shard (number, packed entries) in the order of completion.

    Actors read images and write masks themselves; only the plan passes through Ray's memory. Ray's readers and writers
    would attribute an image's error to its whole block, and name the files of a restarted shard differently.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # a shard may take long
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    reference = ray.put(model)
    rows = [pa.table({"shard": [shard], "entries": [entries]}) for shard, entries in shards]
    # Ray Data restarts a killed actor and its shards without a limit, on another machine if necessary.
    pool = ActorPoolStrategy(
        min_size=1, max_size=count, initial_size=min(count, len(rows)), max_tasks_in_flight_per_actor=IN_FLIGHT
    )
    results = ray.data.from_arrow(rows).map_batches(
        _Actor,
        fn_constructor_args=(job, [reference]),
        batch_size=1,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=pool,
        num_cpus=actors.cpus,
        num_gpus=actors.gpus or None,
    )
    try:
        yield from results.iter_rows()
    except Exception as error:  # the cause of a worker's failure, wrapped several times
        raise RunError(f"Ray gave up: {_cause(error)}") from error


class _Actor(ShardSegmenter):
    """Actor that takes the model from the object store, which has one copy per machine."""

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
            host, colon, port = address.rpartition(":")
            if colon and "://" not in address:  # if nothing listens there, Ray would retry for many minutes
                socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
            ray.init(address, **quiet)
    except (Exception, SystemExit) as error:
        if address is None:
            raise InputError(f"Ray cannot be started on this machine ({_cause(error)})") from None
        raise InputError(
            f"address {address}: no Ray cluster can be reached there ({_cause(error)}); expected auto or host:port"
        ) from None


def _fitting(nodes: list[dict[str, Any]], actors: Actors) -> int:
    """Return the number of actors that fit on the machines of a cluster."""
    count = 0
    for resources in (node.get("Resources", {}) for node in nodes if node.get("Alive")):
        fits, gpus = int(resources.get("CPU", 0) // actors.cpus), resources.get("GPU", 0)
        if actors.gpus:
            fits = min(fits, int(gpus // actors.gpus) if actors.gpus >= 1 else int(gpus) * int(1 // actors.gpus))
        count += fits
    if not count:
        what = f"{actors.cpus} CPUs" + (f" and {actors.gpus:g} GPUs" if actors.gpus else "")
        raise InputError(
            f"expected a machine with {what} for an actor, found none in the cluster; reduce cpus or gpus, or set"
            " the number of actors if further machines will join"
        )
    return count


@contextmanager
def _native_stderr_to(path: Path) -> Iterator[None]:
    """Redirect the process' standard error to a file, for native libraries; `sys.stderr` stays unchanged."""
    ours = False
    with suppress(OSError, ValueError, AttributeError):
        ours = sys.stderr.fileno() == 2
        sys.stderr.flush()
    with ExitStack() as stack:
        saved = os.dup(2)
        stack.callback(os.close, saved)
        stack.callback(os.dup2, saved, 2)
        if ours:
            copy = stack.enter_context(os.fdopen(os.dup(saved), "w", 1, sys.stderr.encoding, sys.stderr.errors))
            stack.enter_context(redirect_stderr(copy))
        with path.open("ab") as log:
            os.dup2(log.fileno(), 2)
        yield


def _cause(error: BaseException) -> str:
    """Return the innermost message, on one line."""
    while isinstance(inner := getattr(error, "cause", None) or error.__cause__, BaseException) and inner is not error:
        error = inner
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]

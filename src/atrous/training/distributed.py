"""Processes of a training run: started by torchrun, with gradients averaged by DistributedDataParallel."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from .._distributed import TorchrunProcess
from ..errors import InputError, RunError


@dataclass(frozen=True)
class Processes:
    """One process of the run.

    Attributes
    ----------
    rank, count : int
        Index of the process, and number of processes.
    device : torch.device
        Device of the process.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def wrap(self, net: nn.Module) -> nn.Module:
        """Return a module whose backward pass averages the gradients of all processes."""
        if self.count == 1:
            return net
        places = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(net, device_ids=places)

    def without_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which the backward pass of `wrap` does not average gradients."""
        context: AbstractContextManager[None] = (
            model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
        )
        return context

    def sums(self, *values: float) -> list[float]:
        """Return the sum of each value over the processes."""
        if self.count == 1:
            return list(values)
        # Double precision represents counts of cells exactly.
        numbers = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(numbers)
        summed: list[float] = numbers.tolist()
        return summed


@contextmanager
def processes(device: str | None) -> Iterator[Processes]:
    """Connect to the other processes of the run, if torchrun started this one, and disconnect at the end.

    Parameters
    ----------
    device : str or None
        "cpu" (gloo) or "cuda" (NCCL, one GPU per process); None for "cuda" if each process on this machine finds a
        GPU, else "cpu".

    Raises
    ------
    InputError
        If the device does not exist.
    RunError
        If another process of the run died.
    """
    process = TorchrunProcess.from_environment()
    rank, count = process.rank, process.world
    place = choose_device(device, process)
    if count == 1:
        yield Processes(0, 1, place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    backend = "nccl" if place.type == "cuda" else "gloo"
    distributed.init_process_group(backend, store=_store(), rank=rank, world_size=count)
    try:
        yield Processes(rank, count, place)
    except (RuntimeError, distributed.DistError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        if any(word in lines[0].lower() for word in _LOST):
            # The process that failed reports the error. A traceback here would hide it.
            raise RunError(f"process {rank}: another process of the run died ({lines[0]:.100})") from None
        raise
    finally:
        distributed.destroy_process_group()


_LOST = ("gloo", "nccl", "connection", "killed by signal")


def _store() -> Any:
    """Return the store through which the processes of a run connect.

    On one machine, torchrun's store persists over a restart, with the addresses of processes that have ended.
    """
    store, _, _ = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") != "1":
        return store
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    return distributed.PrefixStore(f"attempt-{attempt}", store)  # type: ignore[attr-defined]


def choose_device(name: str | None, process: TorchrunProcess) -> torch.device:
    """Return the CPU, or the GPU of a process; see `processes`."""
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name is None:
        name = "cuda" if there >= process.local else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if name != "cuda":
        raise InputError(f"device={name!r}: expected cpu or cuda")
    if process.local_rank >= there:
        raise InputError(
            f"device=cuda: expected a GPU for process {process.local_rank}, found {there}; use the device cpu or fewer"
            " processes"
        )
    return torch.device("cuda", process.local_rank)

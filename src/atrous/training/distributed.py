"""The processes of a training run: torchrun starts them, DistributedDataParallel averages their gradients."""

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
    """One process among those of the run.

    Attributes
    ----------
    rank, count : int
        Its number, and how many there are.
    device : torch.device
        Where it computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def wrap(self, net: nn.Module) -> nn.Module:
        """Return a module whose backward pass averages the gradients of all processes."""
        if self.count == 1:
            return net
        places = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(net, device_ids=places)

    def without_sync(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which the backward pass of `wrap` leaves the gradients to this process."""
        context: AbstractContextManager[None] = (
            model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
        )
        return context

    def sums(self, *values: float) -> list[float]:
        """Return each value summed over the processes."""
        if self.count == 1:
            return list(values)
        # Double precision keeps counts of cells exact.
        numbers = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(numbers)
        summed: list[float] = numbers.tolist()
        return summed


@contextmanager
def processes(device: str | None) -> Iterator[Processes]:
    """Join the other processes of the run, if torchrun started this one, and leave them at the end.

    Parameters
    ----------
    device : str or None
        "cpu" (gloo) or "cuda" (NCCL, a GPU for each process); None for "cuda" where each of this machine's processes
        finds its own GPU, else "cpu".

    Raises
    ------
    InputError
        If there is no such device.
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
            # The process that failed says why itself; here a traceback would bury it.
            raise RunError(f"process {rank}: another process of the run died ({lines[0]:.100})") from None
        raise
    finally:
        distributed.destroy_process_group()


_LOST = ("gloo", "nccl", "connection", "killed by signal")


def _store() -> Any:
    """Where the processes of a run find each other.

    torchrun's store outlives a restart on one machine, and with it the addresses of processes that are gone.
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
            f"device=cuda: process {process.local_rank} finds {there} GPUs; use the device cpu or fewer processes"
        )
    return torch.device("cuda", process.local_rank)

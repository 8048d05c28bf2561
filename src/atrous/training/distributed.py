"""The processes that share a training run: torchrun starts them, PyTorch sums their gradients."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ..errors import InputError


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

    def wrapped(self, net: nn.Module) -> nn.Module:
        """Return a module whose backward pass averages the gradients of all processes."""
        if self.count == 1:
            return net
        places = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(net, device_ids=places, broadcast_buffers=False)

    def silent(self, model: nn.Module) -> AbstractContextManager[None]:
        """Return a context in which the backward pass of `wrapped` leaves the gradients to this process."""
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
def processes(device: str) -> Iterator[Processes]:
    """Join the other processes of the run, if torchrun started this one, and leave them at the end.

    Parameters
    ----------
    device : str
        "cpu" (gloo) or "cuda" (NCCL, a GPU for each process).

    Raises
    ------
    InputError
        If there is no such device.
    """
    count, rank, local = (int(os.environ.get(key, default)) for key, default in _TORCHRUN)
    place = _device(device, local)
    if count == 1:
        yield Processes(0, 1, place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Processes(rank, count, place)
    finally:
        distributed.destroy_process_group()


_TORCHRUN = (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))


def _device(name: str, local: int) -> torch.device:
    if name == "cpu":
        return torch.device("cpu")
    if name != "cuda":
        raise InputError(f"device={name!r}: expected cpu or cuda")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local >= there:
        raise InputError(f"device=cuda: process {local} finds {there} GPUs; use --device cpu or fewer processes")
    return torch.device("cuda", local)

"""Rank and world size of processes started by torchrun."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Self, TypeVar

from .errors import InputError, MissingExtra

Part = TypeVar("Part")

# Timeout for slower processes. A process that died is detected immediately.
_PATIENCE = timedelta(days=1)

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class TorchrunProcess:
    """Rank of a process among all processes and on its machine.

    Attributes
    ----------
    rank, world : int
        Index of the process, from 0, and number of processes.
    local_rank, local : int
        Index of the process on its machine, and number of processes there.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local: int = 1

    @classmethod
    def from_environment(cls) -> Self:
        """Read the variables set by torchrun. Without WORLD_SIZE, return a single process.

        Raises
        ------
        InputError
            If the variables are not consistent numbers.
        """
        if "WORLD_SIZE" not in os.environ:
            return cls()
        try:
            world = int(os.environ["WORLD_SIZE"])
            rank = int(os.environ["RANK"])
            local_rank = int(os.environ.get("LOCAL_RANK", rank))
            local = int(os.environ.get("LOCAL_WORLD_SIZE", world))
            if not (0 <= rank < world and 0 <= local_rank < local <= world):
                raise ValueError
        except (KeyError, ValueError):
            found = {name: os.environ.get(name) for name in _VARIABLES}
            raise InputError(f"the environment: expected numbers as torchrun sets them, got {found}") from None
        return cls(rank, world, local_rank, local)

    def places(self, count: int) -> range:
        """Return the indices of this process among `count` items: every `world`-th one, starting at `rank`."""
        return range(self.rank, count, self.world)

    @contextmanager
    def group(self) -> Iterator[None]:
        """Connect the processes during the block; do nothing for a single process.

        Raises
        ------
        MissingExtra
            If there are several processes but PyTorch is not installed.
        InputError
            If the processes cannot connect.
        """
        if self.world == 1:
            yield
            return
        try:
            import torch.distributed as dist
        except ImportError:
            raise MissingExtra.of("several processes need torch", "train") from None
        try:
            dist.init_process_group("gloo", rank=self.rank, world_size=self.world, timeout=_PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"process {self.rank} of {self.world} cannot connect to the others ({str(error).splitlines()[0]});"
                " start them with torchrun"
            ) from None
        try:
            yield
        finally:
            dist.destroy_process_group()

    def gather(self, part: Part) -> list[Part] | None:
        """Return the parts of all processes on rank 0, within `group`, and None on other ranks.

        Raises
        ------
        InputError
            If another process failed.
        """
        if self.world == 1:
            return [part]
        import torch.distributed as dist

        parts: list[Part] | None = [part] * self.world if self.rank == 0 else None
        try:
            dist.gather_object(part, parts)
        except RuntimeError:
            raise InputError(f"process {self.rank} lost another process; see its message") from None
        return parts


SINGLE = TorchrunProcess()

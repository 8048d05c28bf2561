"""Rank and world size of processes started by torchrun."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Self, TypeVar

from .errors import InputError, MissingExtra

Part = TypeVar("Part")

# A process may wait for a slower one; one that died is noticed at once.
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
        """Return the places of this process's share among `count` items: every `world`-th one from `rank` on."""
        return range(self.rank, count, self.world)

    @contextmanager
    def group(self) -> Iterator[None]:
        """Connect the processes while the block runs; nothing to do for one alone.

        Raises
        ------
        MissingExtra
            If there are several processes and no PyTorch.
        InputError
            If they cannot find each other.
        """
        if self.world == 1:
            yield
            return
        try:
            import torch.distributed as dist
        except ImportError:
            raise MissingExtra("several processes need torch; pip install 'atrous[train]'") from None
        try:
            dist.init_process_group("gloo", rank=self.rank, world_size=self.world, timeout=_PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"process {self.rank} of {self.world} cannot reach the others ({str(error).splitlines()[0]});"
                " start them with torchrun"
            ) from None
        try:
            yield
        finally:
            dist.destroy_process_group()

    def gather(self, part: Part) -> list[Part] | None:
        """Return all processes' parts on rank 0, within `group`, and None elsewhere.

        Raises
        ------
        InputError
            If another process has failed.
        """
        if self.world == 1:
            return [part]
        import torch.distributed as dist

        parts: list[Part] | None = [part] * self.world if self.rank == 0 else None
        try:
            dist.gather_object(part, parts)
        except RuntimeError:
            raise InputError(f"process {self.rank} lost another one, whose message says why") from None
        return parts


SINGLE = TorchrunProcess()

"""Rank and world size of processes started by torchrun."""

import os
from dataclasses import dataclass
from typing import Self

from .errors import InputError

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

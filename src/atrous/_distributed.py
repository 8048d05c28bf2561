"""Processes that torchrun starts."""

import os
from dataclasses import dataclass
from typing import Self

from .errors import InputError

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True)
class TorchrunProcess:
    """A process's number among all processes and among those of its machine.

    Attributes
    ----------
    rank, world : int
        The process's number, from 0, and how many processes there are.
    local_rank, local : int
        The same on this machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local: int = 1

    @classmethod
    def from_environment(cls) -> Self:
        """Read the variables that torchrun sets; a single process where there is no WORLD_SIZE.

        Raises
        ------
        InputError
            If the variables are not numbers that fit together.
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

"""Evaluation by several processes that torchrun started, on one machine or many."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from .._distributed import TorchrunProcess
from ..errors import InputError, MissingExtra
from .results import Evaluation, empty, total

# A process may wait for a slower one; one that died is noticed at once.
_PATIENCE = timedelta(days=1)


class Shard(TorchrunProcess):
    """A process's share of the images: every `world`-th one from `rank` on."""

    def places(self, count: int) -> range:
        """Return the places of this share's samples among `count`."""
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
            raise MissingExtra("evaluating with several processes needs torch; pip install 'atrous[train]'") from None
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

    def gather(self, part: Evaluation) -> Evaluation | None:
        """Sum all processes' evaluations, within `group`.

        Returns
        -------
        Evaluation or None
            The whole on rank 0, None elsewhere.

        Raises
        ------
        InputError
            If another process has failed.
        """
        if self.world == 1:
            return part
        import torch.distributed as dist

        parts: list[Evaluation | None] | None = [None] * self.world if self.rank == 0 else None
        try:
            dist.gather_object(part, parts)
        except RuntimeError:
            raise InputError(f"process {self.rank} lost another one, whose message says why") from None
        if parts is None:
            return None
        nothing = empty(part.classes, part.labelings, part.widths, part.steps)
        return total([each for each in parts if each is not None], nothing)


WHOLE = Shard()

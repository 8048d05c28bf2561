"""Cases of the CRF benchmark, by name."""

import os
from dataclasses import dataclass

from crf_inputs import HEIGHT, WIDTH

PEER = "pydensecrf2"
DROP_IN = "atrous.pydensecrf"
MEGAPIXELS = (0.1, 0.3, 1, 2, 4, 8, 16)
LABELS = (2, 4, 8, 21, 50, 150)

# For larger images, a call of the peer takes minutes and many gigabytes.
_LARGEST_FOR_PEER = 2.2e6


@dataclass(frozen=True)
class Run:
    """Library and settings of a measured run."""

    library: str = "atrous"  # or DROP_IN, PEER
    threads: int = 1
    prune: bool = True  # False: no label is pruned

    @property
    def key(self):
        """Name of the run in the results."""
        if self.library == PEER:
            return PEER
        return f"{self.library}, {self.threads} thread{'s' * (self.threads > 1)}{'' if self.prune else ', no pruning'}"


def processors():
    """Return the number of processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


ALL = processors()
PRUNED, UNPRUNED, PEER_RUN = Run(threads=ALL), Run(threads=ALL, prune=False), Run(PEER)
DROPPED_IN = Run(DROP_IN, threads=ALL)


@dataclass(frozen=True)
class Case:
    """Image, probabilities, and the runs that refine them."""

    name: str
    part: str  # of the benchmark: "table" or "scaling"
    scene: str
    height: int
    width: int
    labels: int
    runs: tuple[Run, ...]
    memory: bool = False
    temperature: float = 1

    @property
    def pixels(self):
        """Number of pixels."""
        return self.height * self.width


def _unique(*runs):
    return tuple(dict.fromkeys(runs))


def _small(name, scene, labels, *, memory=False):
    runs = _unique(PEER_RUN, PRUNED, UNPRUNED, DROPPED_IN, Run(threads=1), Run(threads=1, prune=False), Run(DROP_IN))
    return Case(name, "table", scene, HEIGHT, WIDTH, labels, runs, memory)


def _soft(name, scene, labels, temperature):
    runs = _unique(PEER_RUN, PRUNED, UNPRUNED)
    return Case(name, "table", scene, HEIGHT, WIDTH, labels, runs, temperature=temperature)


def _large(name, scene, height, width, labels):
    return Case(name, "table", scene, height, width, labels, (PEER_RUN, PRUNED, UNPRUNED), scene == "mosaic")


def _by_pixels(megapixels):
    height = round((megapixels * 1e6 / 2) ** 0.5)
    peer = (PEER_RUN,) if 2 * height**2 <= _LARGEST_FOR_PEER else ()
    name = f"pixels-{megapixels:g}"
    memory = megapixels == MEGAPIXELS[-1]
    return Case(name, "scaling", "mosaic", height, 2 * height, 21, (*peer, PRUNED, UNPRUNED), memory)


def _by_labels(labels):
    return Case(f"labels-{labels}", "scaling", "textured", HEIGHT, WIDTH, labels, (PEER_RUN, PRUNED, UNPRUNED))


def _by_threads():
    powers = [2**n for n in range(ALL.bit_length()) if 2**n < ALL]
    runs = [Run(threads=n, prune=prune) for n in (*powers, ALL) for prune in (True, False)]
    return Case("threads", "scaling", "textured", HEIGHT, WIDTH, 21, (PEER_RUN, *runs))


CASES = {
    case.name: case
    for case in (
        _small("plain-21", "plain", 21, memory=True),
        _small("textured-21", "textured", 21, memory=True),
        _small("busy-21", "busy", 21),
        _small("plain-2", "plain", 2),
        _small("textured-2", "textured", 2),
        _soft("soft-21", "textured", 21, 4),
        _soft("textured-60", "textured", 60, 1),
        _soft("textured-150", "textured", 150, 1),
        _large("mosaic-1000", "mosaic", 1000, 1000, 21),
        _large("mosaic-2048", "mosaic", 1024, 2048, 19),
        _large("mirrored-1000", "mirrored", 1000, 1000, 21),
        _large("mirrored-2048", "mirrored", 1024, 2048, 19),
        *(_by_pixels(megapixels) for megapixels in MEGAPIXELS),
        *(_by_labels(labels) for labels in LABELS),
        _by_threads(),
    )
}


@dataclass(frozen=True)
class Row:
    """Row of the table: a case's run compared with the peer's, and the target speedup."""

    title: str
    case: str
    run: Run
    target: float | None = None


ROWS = (
    Row("375x500, 21 labels, plain", "plain-21", PRUNED, 15),
    Row("375x500, 21 labels, textured", "textured-21", PRUNED, 12),
    Row("375x500, 21 labels, busy", "busy-21", PRUNED),
    Row("no pruning, plain", "plain-21", UNPRUNED, 6),
    Row("no pruning, textured", "textured-21", UNPRUNED, 6),
    Row("no pruning, busy", "busy-21", UNPRUNED),
    Row("375x500, 2 labels, plain", "plain-2", PRUNED, 6),
    Row("375x500, 2 labels, textured", "textured-2", PRUNED, 6),
    Row("drop-in, 21 labels, plain", "plain-21", DROPPED_IN, 8),
    Row("drop-in, 21 labels, textured", "textured-21", DROPPED_IN, 8),
    Row("drop-in, 2 labels, textured", "textured-2", DROPPED_IN, 9),
    Row("375x500, 21 labels, textured, temperature 4", "soft-21", PRUNED),
    Row("375x500, 60 labels, textured", "textured-60", PRUNED, 40),
    Row("375x500, 150 labels, textured", "textured-150", PRUNED, 80),
    Row("no pruning, 150 labels, textured", "textured-150", UNPRUNED, 7),
    Row("1000x1000, 21 labels, mosaic", "mosaic-1000", PRUNED, 15),
    Row("1000x1000, 21 labels, one image mirrored", "mirrored-1000", PRUNED, 15),
    Row("1024x2048, 19 labels, mosaic", "mosaic-2048", PRUNED, 15),
    Row("1024x2048, 19 labels, one image mirrored", "mirrored-2048", PRUNED, 15),
    Row("no pruning, 1000x1000, mosaic", "mosaic-1000", UNPRUNED),
    Row("no pruning, 1024x2048, mosaic", "mosaic-2048", UNPRUNED),
    Row("one thread, 375x500, 21 labels, plain", "plain-21", Run(threads=1), 8),
    Row("one thread, 375x500, 21 labels, textured", "textured-21", Run(threads=1), 8),
    Row("one thread, no pruning, plain", "plain-21", Run(threads=1, prune=False)),
    Row("one thread, no pruning, textured", "textured-21", Run(threads=1, prune=False)),
    Row("one thread, drop-in, 21 labels, textured", "textured-21", Run(DROP_IN), 4),
    Row("one thread, drop-in, 2 labels, textured", "textured-2", Run(DROP_IN), 4.5),
)

"""Measurement of a case: times of paired runs, agreement of the results, and peak memory in a new process.

The benchmark starts this script to measure the memory of one run:

    python benchmarks/crf_measure.py FOLDER LIBRARY THREADS PRUNE|default
"""

import contextlib
import gc
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import atrous.pydensecrf.densecrf as drop_in
from atrous.crf import DenseCRF
from atrous.pydensecrf.utils import unary_from_softmax
from crf_cases import DROP_IN, PEER, Run
from crf_inputs import ITERATIONS, KERNELS, lattice_share, load

try:
    import pydensecrf.densecrf as peer
except ImportError:
    peer = None

SPATIAL, BILATERAL = KERNELS

_PROCESSOR_TIMES = Path("/proc/stat")

# Writing 5 to this file resets the peak memory of the process (Linux).
_PEAK_RESET = Path("/proc/self/clear_refs")


def refine(image, probabilities, run, prune=None):
    """Refine probabilities; return Q and the seconds {"whole", "unary"}, the latter a part of the former.

    `unary` is the time that the peer's users spend on converting probabilities to its unary term.
    """
    if run.library == PEER:
        return _refine_as_peer(peer, image, probabilities)
    if run.library == DROP_IN:
        with processors_limited(run.threads):
            return _refine_as_peer(drop_in, image, probabilities)
    started = time.perf_counter()
    crf = DenseCRF(image, KERNELS, iterations=ITERATIONS, threads=run.threads, prune=prune if run.prune else 0)
    q = crf(probabilities)
    return q, {"whole": time.perf_counter() - started, "unary": 0.0}


@contextlib.contextmanager
def processors_limited(count):
    """Let this process run on so many processors: the drop-in takes as many threads, as it has no argument for it."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(allowed)[:count]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _refine_as_peer(library, image, probabilities):
    # Normalized after filtering, as in atrous: one multiplication less in each step than with the peer's default.
    after = library.NORMALIZE_AFTER
    started = time.perf_counter()
    labels, height, width = probabilities.shape
    unary = unary_from_softmax(probabilities)
    ready = time.perf_counter()
    crf = library.DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(unary)
    del unary  # copied by the peer, so it must not count in the peer's memory
    crf.addPairwiseGaussian(sxy=SPATIAL.sxy, compat=SPATIAL.weight, normalization=after)
    crf.addPairwiseBilateral(
        sxy=BILATERAL.sxy, srgb=BILATERAL.srgb, rgbim=image, compat=BILATERAL.weight, normalization=after
    )
    q = np.asarray(crf.inference(ITERATIONS)).reshape(labels, height, width)
    return q, {"whole": time.perf_counter() - started, "unary": ready - started}


def available(case):
    """Return the runs of a case that can be measured on this machine."""
    return [run for run in case.runs if run.library != PEER or peer is not None]


def measure(case, *, rounds, seconds, prune=None, earlier=None):
    """Time the runs of a case alternately, round by round.

    Parameters
    ----------
    case : Case
    rounds : int
        Maximum number of rounds.
    seconds : float
        Time limit; a round that would probably exceed it is not started. At least one round is measured.
    prune : float, optional
        Pruning threshold. Default: that of DenseCRF.
    earlier : dict, optional
        Result to extend by the rounds.

    Returns
    -------
    dict
        JSON record. `times`: for each run a list with one entry per round. `used by others`: average number of
        processors that other processes used meanwhile; 0 on an idle machine.
    """
    image, probabilities = load(case.scene, case.height, case.width, case.labels, case.temperature)
    runs = available(case)
    small = np.ascontiguousarray(image[:64, :64]), np.ascontiguousarray(probabilities[:, :64, :64])
    for run in runs:
        refine(*small, run, prune)

    result = earlier or {
        "height": case.height,
        "width": case.width,
        "labels": case.labels,
        "scene": case.scene,
        "prune": DenseCRF(small[0], KERNELS, prune=prune).prune,
        "vertices per pixel": lattice_share(image),
        "most probable somewhere": int(np.unique(probabilities.argmax(axis=0)).size),
        "times": {run.key: [] for run in runs},
        "unary": [],
        "used by others": [],
    }
    results, done, ours, everybodys = {}, 0, time.process_time(), _processor_seconds()
    started = time.perf_counter()
    while done < rounds:
        elapsed = time.perf_counter() - started
        if done and elapsed * (done + 1) / done > seconds:
            break
        # The order rotates, so that no run always follows the same one and its caches.
        first = len(result["times"][runs[0].key]) % len(runs)
        for run in runs[first:] + runs[:first]:
            results.pop(run.key, None)
            gc.collect()
            results[run.key], times = refine(image, probabilities, run, prune)
            result["times"][run.key].append(times["whole"])
            if run.library == PEER:
                result["unary"].append(times["unary"])
        done += 1
    result["used by others"].append(
        (_processor_seconds() - everybodys - (time.process_time() - ours)) / (time.perf_counter() - started)
    )
    result["active"] = {key: int(sum(plane.any() for plane in q)) for key, q in results.items()}
    if PEER in results:
        theirs = results.pop(PEER).argmax(axis=0)
        result["same labels"] = {key: float((q.argmax(axis=0) == theirs).mean()) for key, q in results.items()}
    return result


def _processor_seconds():
    """Return the processor time of the whole machine, including other guests of its host (Linux)."""
    if not _PROCESSOR_TIMES.exists():
        return math.nan
    user, nice, system, _, _, *interrupts_and_stolen = _PROCESSOR_TIMES.read_text().split("\n", 1)[0].split()[1:9]
    return sum(map(int, (user, nice, system, *interrupts_and_stolen))) / os.sysconf("SC_CLK_TCK")


def measure_memory(case, prune=None):
    """Return the memory of each run of a case in MiB, {run: {"before", "peak"}}, each from a new process.

    `before` is the memory with libraries and inputs loaded, `peak` the highest value during the call.
    """
    if not _PEAK_RESET.exists():
        raise SystemExit(f"error: {_PEAK_RESET}: not found; peak memory is measured on Linux only")
    image, probabilities = load(case.scene, case.height, case.width, case.labels)
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "image.npy", image)
        np.save(Path(folder) / "probabilities.npy", probabilities)
        del image, probabilities
        for run in available(case):
            setting = "0" if not run.prune else "default" if prune is None else str(prune)
            command = [sys.executable, __file__, folder, run.library, str(run.threads), setting]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            result[run.key] = json.loads(done.stdout)
    return result


def _status(field):
    """Return a field of /proc/self/status in MiB. Unlike getrusage, VmHWM excludes the parent process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def _measured(folder, library, threads, setting):
    image, probabilities = (np.load(Path(folder) / f"{name}.npy") for name in ("image", "probabilities"))
    _PEAK_RESET.write_text("5")
    before = _status("VmRSS")
    run = Run(library, int(threads), prune=setting != "0")
    q, _ = refine(image, probabilities, run, float(setting) if setting != "default" else None)
    assert q.shape == probabilities.shape
    return {"before": before, "peak": _status("VmHWM")}


if __name__ == "__main__":
    print(json.dumps(_measured(*sys.argv[1:])))

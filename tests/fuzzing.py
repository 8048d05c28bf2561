"""Random use of one part of the package: `python tests/fuzzing.py crf --cases 10000 --seed 0`.

Each case runs in a worker process, so that a crash or a hang is caught and named by its number;
`--replay NUMBER` runs that one alone, with its traceback. A target is a module with a function `run_case((seed,
number))` that returns "passed" or "refused: why"; anything it raises is a finding.
"""

import argparse
import faulthandler
import importlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parent
TARGETS = {
    "crf": "fuzz/random_cases.py",
    "pictures": "hostile/fuzz_pictures.py",
    "models": "hostile/fuzz_models.py",
    "tables": "hostile/fuzz_tables.py",
    "names": "hostile/fuzz_names.py",
}
HANG = 20.0  # seconds for one case
MEMORY = 2 << 30  # bytes that one case may add
PROCESSOR_TIME = 10.0  # seconds of one case
# The backstop: what asks for more gets a MemoryError. It counts address space, of which libraries reserve much.
ADDRESS_SPACE = 16 << 30


def case_of(target):
    """Return the function that runs a case of a target."""
    path = TESTS / TARGETS[target]
    sys.path[:0] = [str(TESTS), str(path.parent)]
    return importlib.import_module(path.stem).run_case


def work(target, seed, numbers):
    """Run cases one after the other and print before and after each what happens."""
    faulthandler.enable()
    warnings.simplefilter("error", RuntimeWarning)  # a user would see it and wonder
    run_case = case_of(target)
    _limit_address_space()
    for number in numbers:
        print("start", number, flush=True)
        most, begun = peak(), time.process_time()
        try:
            outcome = run_case((seed, number)).split(":")[0]
            taken, seconds = peak() - most, time.process_time() - begun
            assert taken < MEMORY, f"takes {taken >> 20} MiB"
            assert seconds < PROCESSOR_TIME, f"takes {seconds:.0f} s of the processor"
            print("done", number, outcome, taken >> 20, f"{seconds:.3f}", flush=True)
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}:{last.lineno}"
            line = f"{type(error).__name__} at {place}: {' '.join(str(error).split())[:300]}"
            print("bad", number, line.encode("ascii", "backslashreplace").decode(), flush=True)


def peak():
    """Return the most memory that this process has used so far, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


def _limit_address_space():
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))


class Worker:
    """A process that runs some cases, and a thread that reads what it prints."""

    def __init__(self, program, target, seed, numbers, folder):
        numbers = f"{numbers.start}:{numbers.stop}:{numbers.step}"
        self.process = subprocess.Popen(
            [sys.executable, str(program), target, "--seed", str(seed), "--work", numbers],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            env={**os.environ, "TMPDIR": folder, "TMP": folder, "TEMP": folder},
        )
        self.lines = queue.Queue()
        self.errors = []
        threading.Thread(target=self._read, daemon=True).start()
        self._stderr = threading.Thread(target=lambda: self.errors.append(self.process.stderr.read()), daemon=True)
        self._stderr.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.split(maxsplit=2))
        self.lines.put(None)

    def end(self):
        """Return the exit code and the last words of a process that prints nothing more."""
        code = self.process.wait()
        self._stderr.join(5)
        return code, " ".join("".join(self.errors).split())[-600:]


def fuzz(target, seed, numbers, tell=print, program=__file__, hang=HANG, most=None):
    """Run the cases of a range; returns what they came to, and a list of findings.

    `most`, a dictionary, gets the most MiB that one case adds, and the most seconds of the processor it takes.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder:
        return _fuzz(target, seed, numbers, tell, program, hang, {} if most is None else most, folder)


def _fuzz(target, seed, numbers, tell, program, hang, most, folder):
    counts, findings = Counter(), []
    while len(numbers):
        worker, running = Worker(program, target, seed, numbers, folder), None
        while True:
            try:
                words = worker.lines.get(timeout=hang if running is not None else 6 * HANG)
            except queue.Empty:
                worker.process.kill()
                problem = f"hangs for more than {hang:g} s"
                break
            if words is None:
                code, said = worker.end()
                problem = f"crashes with exit code {code}: {said}" if code else None
                break
            if words[0] == "start":
                running = int(words[1])
                continue
            if words[0] == "bad":
                findings.append((running, words[2].strip()))
                tell(f"case {running}: {words[2].strip()}")
                counts["found"] += 1
            else:
                outcome, *taken = words[2].split()
                counts[outcome] += 1
                for unit, amount in zip(("MiB", "seconds"), map(float, taken), strict=False):
                    most[unit] = max(amount, most.get(unit, 0.0))
            running = None
        if problem is None:
            break
        if running is None:
            raise RuntimeError(f"the worker {problem}, outside of any case")
        counts["found"] += 1
        findings.append((running, problem))
        tell(f"case {running}: {problem}")
        numbers = range(running + numbers.step, numbers.stop, numbers.step)
    return counts, findings


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", type=int, metavar="NUMBER", help="run one case in this process")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.target, arguments.seed, range(*map(int, arguments.work.split(":"))))
        return 0
    if arguments.replay is not None:
        faulthandler.enable()
        warnings.simplefilter("error", RuntimeWarning)
        print(case_of(arguments.target)((arguments.seed, arguments.replay)))
        return 0

    started = time.monotonic()
    counts, findings, most = Counter(), [], {}

    def run(job):
        numbers = range(arguments.first + job, arguments.first + arguments.cases, arguments.jobs)
        of_job, found = fuzz(arguments.target, arguments.seed, numbers, most=most)
        counts.update(of_job)
        findings.extend(found)

    jobs = [threading.Thread(target=run, args=(job,)) for job in range(arguments.jobs)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    took = ", ".join(f"{amount:g} {unit}" for unit, amount in sorted(most.items()))
    print(
        f"{sum(counts.values())} cases, seed {arguments.seed}: {outcomes}; {time.monotonic() - started:.0f} s;"
        f" at most {took} for one"
    )
    return 1 if findings or sum(counts.values()) != arguments.cases else 0


if __name__ == "__main__":
    sys.exit(main())

"""Random use of the CRF: `python tests/fuzz/fuzz_crf.py --cases 10000 --seed 0`.

Each case runs in a worker process, so that a crash or a hang is caught and named by its number;
`--replay NUMBER` runs that one alone, with its traceback.
"""

import argparse
import faulthandler
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

HANG = 20.0  # seconds for one case


def work(seed, numbers):
    """Run cases one after the other and say before and after each what happens."""
    faulthandler.enable()
    warnings.simplefilter("error", RuntimeWarning)  # a user would see it and wonder
    from random_cases import run_case

    for number in numbers:
        print("start", number, flush=True)
        try:
            print("done", number, run_case((seed, number)).split(":")[0], flush=True)
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}:{last.lineno}"
            print("bad", number, f"{type(error).__name__} at {place}: {' '.join(str(error).split())[:300]}", flush=True)


class Worker:
    """A process that runs some cases, and a thread that reads what it says."""

    def __init__(self, program, seed, numbers):
        command = [
            sys.executable,
            str(program),
            "--seed",
            str(seed),
            "--work",
            f"{numbers.start}:{numbers.stop}:{numbers.step}",
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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
        """Return the exit code and the last words of a process that says nothing more."""
        code = self.process.wait()
        self._stderr.join(5)
        return code, " ".join("".join(self.errors).split())[-600:]


def fuzz(seed, numbers, tell=print, program=__file__, hang=HANG):
    """Run the cases of a range; returns what they came to, and a list of findings."""
    counts, findings = Counter(), []
    while len(numbers):
        worker, running = Worker(program, seed, numbers), None
        while True:
            try:
                words = worker.lines.get(timeout=hang if running is not None else 3 * HANG)
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
            counts[words[2].strip() if words[0] == "done" else "found"] += 1
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
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", type=int, metavar="NUMBER", help="run one case in this process")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.seed, range(*map(int, arguments.work.split(":"))))
        return 0
    if arguments.replay is not None:
        faulthandler.enable()
        warnings.simplefilter("error", RuntimeWarning)
        from random_cases import run_case

        print(run_case((arguments.seed, arguments.replay)))
        return 0

    started = time.monotonic()
    counts, findings = Counter(), []

    def run(job):
        numbers = range(arguments.first + job, arguments.first + arguments.cases, arguments.jobs)
        of_job, found = fuzz(arguments.seed, numbers)
        counts.update(of_job)
        findings.extend(found)

    jobs = [threading.Thread(target=run, args=(job,)) for job in range(arguments.jobs)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    print(f"{sum(counts.values())} cases, seed {arguments.seed}: {outcomes}; {time.monotonic() - started:.0f} s")
    return 1 if findings or sum(counts.values()) != arguments.cases else 0


if __name__ == "__main__":
    sys.exit(main())

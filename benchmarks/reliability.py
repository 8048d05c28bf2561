"""Tables of docs/reliability.md: injected faults with the guarantees that hold, and the fuzzers.

    python benchmarks/reliability.py [--write] [--cases N] [-- PYTEST ARGUMENTS]

Runs all tests with the mark `fault`, including the slow ones, which takes an hour on two cores, and N cases of each
fuzzer. Prints the tables; --write inserts them into the page. `-- -m "fault and not slow"` is fast.
"""

import argparse
import platform
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pages import insert
from segment import processor

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reliability.md"
# Folders of the marked tests. Collecting all tests takes longer than running some of them.
PLACES = [
    *("tests/hostile", "tests/test_whole_files.py", "tests/bulk/test_ray_cluster.py", "tests/network/test_weights.py"),
    *("tests/training/test_processes.py", "tests/training/test_checkpoint.py"),
]
# Sections of the table, by the file of a test.
KINDS = {
    "Kills and signals": ("test_kills", "test_processes", "test_ray_cluster"),
    "Disks and folders": ("test_disks", "test_whole_files", "test_checkpoint"),
    "Standard streams": ("test_streams",),
    "Environment": ("test_environments", "test_offline"),
    "Memory, descriptors, processors": ("test_limits",),
    "Inputs": ("test_inputs", "test_weights"),
    "Several runs": ("test_two_runs",),
}
FUZZERS = {
    "crf": "arrays and settings of the CRF",
    "tables": "class lists, color tables, lists of images, JSON, CSV, arrays, Parquet, tar and MATLAB files",
    "pictures": "JPEG, PNG, TIFF, WebP, GIF, BMP, AVIF, JPEG 2000, PPM, TGA",
    "models": "ONNX files, checkpoints, safetensors, pickles, Caffe models, recipes, training logs (CSV)",
    "names": "names of files and classes, and values of options, through the commands",
}


@dataclass
class Fault:
    """Row of the table."""

    kind: str
    promise: str
    commands: set[str] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)

    def tests(self) -> str:
        """Return the number of tests that passed."""
        ran = self.outcomes["passed"] + self.outcomes["failed"]
        passed = str(ran) if not self.outcomes["failed"] else f"{self.outcomes['passed']} of {ran}"
        return passed if ran else "not run"


class Faults:
    """Plugin of pytest that collects the marks and outcomes of tests."""

    def __init__(self) -> None:
        self.found: dict[str, Fault] = {}
        self._of_test: dict[str, str] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Collect the faults with which tests are marked, those that do not run included."""
        for mark in item.iter_markers("fault"):
            name, promise = mark.args
            kind = next(kind for kind, files in KINDS.items() if item.path.stem in files)
            fault = self.found.setdefault(name, Fault(kind, promise))
            arguments: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
            named = arguments.get("name")
            fault.commands |= set(mark.kwargs.get("of") or ([named] if isinstance(named, str) else ["segment"]))
            self._of_test[item.nodeid] = name

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count an outcome."""
        name = self._of_test.get(report.nodeid)
        if name is not None and (report.when == "call" or report.outcome != "passed"):
            self.found[name].outcomes[report.outcome] += 1


def fault_table(found: dict[str, Fault]) -> str:
    """Return the faults as one Markdown table per kind."""
    parts = []
    for kind in KINDS:
        rows = [
            f"| {name} | {fault.promise} | {', '.join(sorted(fault.commands))} | {fault.tests()} |"
            for name, fault in found.items()
            if fault.kind == kind
        ]
        parts += [f"### {kind}", "", "| fault | promise | commands | tests |", "|---|---|---|---|", *rows, ""]
    return "\n".join(parts)


def fuzzer_table(cases: int, seed: int) -> str:
    """Run the fuzzers and return the results as a Markdown table."""
    sys.path.insert(0, str(ROOT / "tests"))
    from fuzzing import fuzz

    columns = ["input", "cases", "accepted", "rejected in one line", "findings"]
    columns += ["additional peak memory of one case", "time of one case"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for target, what in FUZZERS.items():
        counts, findings, most = Counter[str](), [], dict[str, float]()

        def run(first: int, target: str = target, into: Any = (counts, findings, most)) -> None:
            found = fuzz(target, seed, range(first, cases, 2), most=(mine := {}))
            into[0].update(found[0])
            into[1].extend(found[1])
            for unit, amount in mine.items():
                into[2][unit] = max(amount, into[2].get(unit, 0.0))

        threads = [threading.Thread(target=run, args=(first,)) for first in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines.append(
            f"| {what} | {sum(counts.values()):,} | {counts['passed']:,} | {counts['refused']:,} | {len(findings)}"
            f" | {most.get('MiB', 0):.0f} MiB | {most.get('seconds', 0):.1f} s |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run and print, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="insert the tables into docs/reliability.md")
    parser.add_argument("--cases", type=int, default=20_000, help="cases per fuzzer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    arguments = parser.parse_args()
    faults = Faults()
    places = [str(ROOT / place) for place in PLACES]
    status = pytest.main(["-m", "fault", "-p", "no:cacheprovider", *places, *arguments.pytest], plugins=[faults])
    here = f"On {processor()}, {platform.system()}, Python {platform.python_version()}."
    table = f"{here}\n\n{fault_table(faults.found)}"
    cases = f"{here} Seed {arguments.seed}.\n\n{fuzzer_table(arguments.cases, arguments.seed)}"
    if arguments.write:
        insert(PAGE, "<!-- faults -->", table)
        insert(PAGE, "<!-- fuzzers -->", cases)
    else:
        print(table, cases, sep="\n\n")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())

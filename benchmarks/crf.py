"""Time and memory of the fully connected CRF, compared with pydensecrf2 if it is installed.

    python benchmarks/crf.py                        all parts, a quarter of an hour
    python benchmarks/crf.py --only table           or memory, or scaling
    python benchmarks/crf.py --case plain-21        one case; --list names them
    python benchmarks/crf.py --report docs/benchmarks.md

A call is set-up and ten steps on probabilities, with kernels w1=4 sxy=49 srgb=5 and w2=3 sxy=3. The libraries alternate
in one process, round by round, so that a change in the machine's load affects both. The table shows medians of the
times and of the rounds' ratios. Each case's results are saved in a JSON file, so a run can be split into several; the
report and its plots are generated from that file alone. crf_inputs.py describes the test images.
"""

import argparse
import datetime
import hashlib
import importlib.metadata
import json
import platform
import sys
from pathlib import Path

from atrous import _native
from atrous._io import replacing
from crf_cases import CASES, PEER, ROWS, processors
from crf_inputs import ROOT, SCENES, scene
from crf_measure import measure, measure_memory
from crf_measure import peer as peer_module
from crf_report import memory_table, scaling_table, table, write_report

PARTS = ("table", "memory", "scaling")


def processor():
    """Return the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def machine():
    """Return the properties of the machine that affect the figures."""
    names = ("atrous", PEER, "numpy")
    versions = {name: _version(name) for name in names}
    return {
        "processor": processor(),
        "processors": processors(),
        "instruction set": _native.instruction_set(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version for name, version in versions.items() if version},
    }


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def build():
    """Return a hash of the compiled code, to distinguish figures of different builds."""
    return hashlib.sha256(Path(_native.__file__).read_bytes()).hexdigest()[:12]


def read_results(path):
    """Return saved results, or an empty record."""
    here = {"machine": machine(), "cases": {}, "memory": {}}
    if not path.exists():
        return here
    results = json.loads(path.read_text())
    differing = [name for name, value in here["machine"].items() if results["machine"].get(name, value) != value]
    if differing:
        raise SystemExit(f"error: {path}: measured with another {', '.join(differing)}; pass a new file to --json")
    results["machine"] |= here["machine"]
    return results


def write_results(path, results):
    """Write the results atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")


def run_case(results, case, options):
    """Measure a case and add it to the results."""
    stamp = {"date": datetime.date.today().isoformat(), "build": build()}
    earlier = results["cases"].get(case.name) if options.append else None
    if earlier and earlier["build"] != stamp["build"]:
        raise SystemExit(f"error: {case.name}: its earlier rounds are from another build; measure without --append")
    result = measure(case, rounds=options.rounds, seconds=options.seconds, prune=options.prune, earlier=earlier)
    results["cases"][case.name] = stamp | result
    rounds, others = len(next(iter(result["times"].values()))), result["used by others"][-1]
    print(f"{case.name}: {rounds} rounds; other processes used {others:.2f} processors meanwhile", file=sys.stderr)


def parse_arguments():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="measure only this part")
    parser.add_argument(
        "--case", nargs="+", choices=CASES, metavar="NAME", help="measure only these cases of the parts"
    )
    parser.add_argument("--rounds", type=int, default=9, help="maximum number of rounds per case")
    parser.add_argument(
        "--seconds", type=float, default=50, help="time for the rounds of each case; at least one is measured"
    )
    parser.add_argument("--append", action="store_true", help="add rounds to a case's earlier ones")
    parser.add_argument("--prune", type=float, help="pruning threshold instead of DenseCRF's default")
    parser.add_argument(
        "--json", type=Path, default=ROOT / "build" / "crf.json", help="file of results, read and updated"
    )
    parser.add_argument("--report", type=Path, help="write this Markdown file from the results without measuring")
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "images", help="folder of the report's plots")
    parser.add_argument("--prepare", action="store_true", help="only run the network on the scenes")
    parser.add_argument("--list", action="store_true", help="list the cases")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"argument --rounds: expected 1 or more, got {options.rounds}")
    return options


def main():
    """Measure the selected cases and print them."""
    options = parse_arguments()
    if options.list:
        for case in CASES.values():
            parts = f"{case.part}, memory" if case.memory else case.part
            print(f"{case.name:14s}{case.height}x{case.width}, {case.labels} labels, {case.scene} ({parts})")
        return
    if options.prepare:
        for name in SCENES:
            scene(name)
        return
    results = read_results(options.json)
    if options.report:
        write_report(results, options.report, options.images)
        print(f"{options.report}, {options.images}/crf-*.png")
        return

    if peer_module is None:
        print(f"{PEER} is not installed: no comparison", file=sys.stderr)
    chosen = [CASES[name] for name in options.case or CASES]
    for case in chosen:
        if case.part == options.only or not options.only:
            run_case(results, case, options)
            write_results(options.json, results)
        if case.memory and options.only in (None, "memory"):
            stamp = {"date": datetime.date.today().isoformat(), "build": build()}
            results["memory"][case.name] = stamp | {"MiB": measure_memory(case, options.prune)}
            write_results(options.json, results)

    print(", ".join(f"{name} {value}" for name, value in results["machine"].items()))
    names = {case.name for case in chosen}
    parts = [options.only] if options.only else PARTS
    if "table" in parts:
        print_lines(table(results, [row for row in ROWS if row.case in names], targets=True))
    if "memory" in parts:
        print_lines(memory_table(results, names))
    if "scaling" in parts:
        print_lines(scaling_table(results, names))


def print_lines(rows):
    """Print a table with aligned columns; the first row is its head."""
    if len(rows) < 2:
        return
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    print()
    for title, *cells in rows:
        print("  ".join([title.ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells, widths[1:], strict=True))]))


if __name__ == "__main__":
    main()

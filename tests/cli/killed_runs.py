"""Kill `atrous segment` at chosen points, run the same command again, and compare. A script: see `main`."""

import json
import os
import signal
import sys
from pathlib import Path

# What a process does to files that another one can see.
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def die_at(number: int, folder: Path) -> None:
    """Kill this process before its `number`-th change below a folder, counted from 0."""
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in CHANGES or writes) and str(folder) in str(arguments[0]):
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    sys.addaudithook(hook)


def run(arguments: list[str], printed: Path, number: int | None = None) -> int:
    """Run the command in a fork, killed at a change or not; return its status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 120
    try:
        for stream in (1, 2):
            os.dup2(os.open(printed, os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
        sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", closefd=True) for n in (1, 2))  # noqa: SIM115, PTH123
        sys.argv = ["atrous", *arguments]
        from atrous.cli import main

        if number is not None:
            die_at(number, Path(arguments[arguments.index("--out") + 1]))
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
    finally:
        os._exit(status)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if not p.is_dir()}


def leftovers(folder: Path) -> list[str]:
    return [str(p) for p in folder.rglob("*") if p.name.startswith(".")]


def main() -> None:
    """Given as JSON: the command without --out, a folder, the step between points, and whether outputs exist before."""
    import atrous.cli  # noqa: F401

    given = json.loads(sys.argv[1])
    command, folder = given["command"], Path(given["folder"])
    before, whole = folder / "before", folder / "whole"
    printed = folder / "printed"
    assert run([*command, "--no-crf", "--out", str(before)], printed) == 0, printed.read_text()
    assert run([*command, "--out", str(whole)], printed) == 0, printed.read_text()
    old, new = contents(before), contents(whole)
    assert old.keys() == new.keys()
    assert all(old[name] != new[name] for name in new)
    points = 0
    for number in range(0, 1000, given["step"]):
        out = folder / f"out {number}"
        again = [*command, "--out", str(out)]
        if given["exist"]:
            assert run([*command, "--no-crf", "--out", str(out)], printed) == 0
        status = run([*again, "--overwrite"] if given["exist"] else again, printed, number)
        if status == 0:
            break
        assert status == -signal.SIGKILL, printed.read_text()
        points += 1
        assert all(content in (old[name], new[name]) for name, content in contents(out).items() if "/" not in name)
        status = run(again, printed)
        found = contents(out)
        assert found.keys() == new.keys(), f"at {number}: {sorted(found)}"
        left = 0  # photos whose outputs have not been replaced, which the second run reports
        for stem in {name.split(".")[0] for name in new}:
            files = [name for name in new if name.split(".")[0] == stem]
            versions = [all(found[name] == some[name] for name in files) for some in (old, new)]
            assert versions[1] or (versions[0] and given["exist"]), f"at {number}: {stem}"
            left += not versions[1]
        assert status == (2 if left else 0), printed.read_text()
        assert not leftovers(out), f"at {number}: {leftovers(out)}"
    print(points)


if __name__ == "__main__":
    main()

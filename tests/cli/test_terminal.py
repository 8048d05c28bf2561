"""What commands print, to whomever reads it or not."""

import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

import atrous

pytestmark = pytest.mark.skipif(os.name == "nt", reason="forks, and names that Windows does not allow")
sys.path.insert(0, str(Path(__file__).parent))

from every_command import ODD

COMMANDS = ["segment", "refine", "evaluate", "tune", "data check", "data sbd", "convert", "train"]
FULL = ["segment", "refine", "data check", "data sbd", "convert"]
GONE = ["segment", "data check"]
SLOW = ["bench", "bulk"]
ABSENT = {
    **{command: [f"no {ODD}"] for command in ("segment", "evaluate", "tune", "convert", "data check")},
    "refine": [f"no {ODD}", f"no {ODD}"],
    "bulk": [f"no {ODD}", "OUT/o"],
    "train": [f"no {ODD}", "--out", f"OUT/{ODD}"],
    "export": [f"no {ODD}", f"OUT/{ODD}.onnx"],
    "bench": [f"no {ODD}"],
    "data sbd": [f"no {ODD}", "--voc", ODD, "--out", ODD],
}
PACKAGES = {
    "torch": ("train", "convert", "export"),
    "onnxscript": ("export",),
    "ray": ("bulk",),
    "scipy": ("data sbd",),
}


def run_cases(folder, cases):
    source = Path(atrous.__file__).parents[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(source), str(Path(__file__).parents[1]), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("every_command.py"), folder],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["results"]


def as_cases(commands, streams):
    return [{"command": c, "arguments": None, "streams": s, "seconds": 120} for c in commands for s in streams]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What became of each (command, streams); (command, "absent") names files that are not there."""
    for package in ("onnx", "matplotlib", "jinja2"):
        pytest.importorskip(package)
    cases = as_cases(COMMANDS, ["kept"]) + as_cases(FULL, ["full"]) + as_cases(GONE, ["gone", "closed"])
    cases += [{"command": c, "arguments": [*c.split(), *a], "streams": "absent"} for c, a in ABSENT.items()]
    for arguments in (
        ["--version"],
        ["--help"],
        ["segment", "--help"],
        ["no such \x1b[31m"],
        ["segment", "--no\x1b[31m"],
    ):
        cases += [
            {"command": " ".join(arguments), "arguments": arguments, "streams": s} for s in ("kept", "full", "gone")
        ]
    found = run_cases(tmp_path_factory.mktemp("world"), cases)
    return {(case["command"], case["streams"]): result for case, result in zip(cases, found, strict=True)}


def needed(command):
    for package, commands in PACKAGES.items():
        if command in commands:
            pytest.importorskip(package)


def check_quiet(result, streams):
    assert "Traceback" not in result["err"]
    if streams == "closed":
        assert result["status"] == 0, result
        return
    assert result["status"] == 1, result
    said = [line for line in result["err"].splitlines() if not line.startswith(("warning: ", "note: ", "grid: "))]
    assert len(said) == (streams == "full"), result
    assert all("standard output" in line and "No space left" in line for line in said)


def check_escaped(result):
    printed = result["out"] + result["err"]
    assert "Traceback" not in printed, printed
    steering = {c for c in printed if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert steering <= {"\n"}, printed
    return printed


@pytest.mark.parametrize("command", COMMANDS)
def test_odd_names_are_printed_escaped(results, command):
    needed(command)
    result = results[command, "kept"]
    assert result["status"] == 0, result
    assert "\\x1b]0;t\\x07\\n\\u202e[b]{c}" in check_escaped(result)


@pytest.mark.parametrize("command", ABSENT)
def test_odd_names_of_what_is_not_there_are_printed_escaped(results, command):
    needed(command)
    result = results[command, "absent"]
    assert (result["status"], result["out"], result["err"].count("\n")) == (2, "", 1), result
    assert "\\x1b]0;t\\x07" in check_escaped(result)


@pytest.mark.parametrize("arguments", ["no such \x1b[31m", "segment --no\x1b[31m"])
def test_what_is_no_command_or_option_is_printed_escaped(results, arguments):
    result = results[arguments, "kept"]
    assert result["status"] == 2
    assert "x1b" in check_escaped(result)


@pytest.mark.parametrize("command", [*FULL, "--version", "--help", "segment --help"])
def test_on_a_full_disk_standard_output_is_one_line_and_status_1(results, command):
    needed(command)
    check_quiet(results[command, "full"], "full")


@pytest.mark.parametrize("command", [*GONE, "--version", "--help", "segment --help"])
def test_a_reader_that_has_gone_is_status_1(results, command):
    needed(command)
    check_quiet(results[command, "gone"], "gone")


@pytest.mark.parametrize("command", GONE)
def test_standard_output_may_be_closed(results, command):
    needed(command)
    check_quiet(results[command, "closed"], "closed")


@pytest.mark.slow
def test_the_slower_commands_too(tmp_path):
    for package in ("onnx", "ray", "fastapi", "torch", "scipy", "matplotlib"):
        pytest.importorskip(package)
    cases = as_cases(SLOW, ["kept", "full", "gone", "closed"]) + as_cases(["serve"], ["full", "gone"])
    cases += as_cases([c for c in COMMANDS if c not in FULL], ["full"])
    cases += as_cases([c for c in COMMANDS if c not in GONE], ["gone", "closed"])
    for case, result in zip(cases, run_cases(tmp_path, cases), strict=True):
        if case["streams"] == "kept":
            assert result["status"] == 0, result
            assert "\\x1b]0;t\\x07" in check_escaped(result)
        else:
            result["err"] = re.sub(r"(?m)^\d+ of 10 images.*\n", "", result["err"])
            check_quiet(result, case["streams"])


# As a shell starts it: `>&-` leaves the number to the next file that is opened.
@pytest.mark.parametrize(
    ("redirected", "status"), [(">/dev/full", 1), ("| true", 1), (">&-", 0), ("2>&-", 2), ("<&-", 0)]
)
def test_a_command_as_a_shell_starts_it(tmp_path, redirected, status):
    command = f"set -o pipefail; {{ sleep 0.2; {sys.executable} -m atrous --help; }} {redirected}"
    if redirected == "2>&-":
        command = f"{sys.executable} -m atrous segment absent.jpg 2>&-"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(atrous.__file__).parents[1]), *sys.path])}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == status
    assert done.stderr.count("\n") == (redirected == ">/dev/full")
    assert (done.stdout != "") == (redirected == "<&-")

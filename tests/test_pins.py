"""The versions of what atrous is built on: bounds, the lock of the developer environment, the workflows' actions."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
USERS = [*PROJECT["dependencies"], *(one for extra in sorted(EXTRAS.keys() - {"dev"}) for one in EXTRAS[extra])]
EVERYBODY = [*USERS, *EXTRAS["dev"]]


def pins(name):
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []  # no addresses, no +local
    found = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}
    assert len(found) == len(lines)
    return found


def needed(requirements):
    """Return the installed versions of requirements and of all that they require; None for what is missing."""
    found, todo = {}, [Requirement(one) for one in requirements]
    seen = set()
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        if (name, extras := tuple(sorted(one.extras))) in seen:
            continue
        seen.add((name, extras))
        try:
            if name != "setuptools":  # a new environment brings one
                found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
            continue
        for text in distribution(name).requires or []:
            child = Requirement(text)
            if child.marker is None or any(child.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                todo.append(child)
    return found


@pytest.mark.parametrize("text", USERS)
def test_what_users_install_has_an_upper_bound_above_the_tested_version(text):
    requirement = Requirement(text)
    assert {one.operator for one in requirement.specifier} == {">=", "<"}
    assert requirement.specifier.contains(pins("constraints-ci.txt")[canonicalize_name(requirement.name)])


def test_the_lock_has_what_was_chosen():
    lock, chosen = pins("constraints-ci.txt"), pins("constraints-dev.txt")
    build = {"scikit-build-core"}  # installed only while the package is built
    assert {name: lock.get(name) for name in chosen.keys() - build} == {
        name: version for name, version in chosen.items() if name not in build
    }
    assert list(lock) == sorted(lock)


def test_the_lock_is_complete():
    lock = pins("constraints-ci.txt")
    installed = {name: found and found.split("+")[0] for name, found in needed(EVERYBODY).items()}
    if {name: installed.get(name) for name in pins("constraints-dev.txt").keys() & installed.keys()} != {
        name: pinned for name, pinned in pins("constraints-dev.txt").items() if name in installed
    }:
        pytest.skip("this environment is not the one of constraints-dev.txt")
    assert {name: lock.get(name) for name in installed} == installed


def test_workflows_use_actions_by_hash():
    used = [
        line.split("uses:")[1].strip()
        for path in (ROOT / ".github/workflows").glob("*.yml")
        for line in path.read_text().splitlines()
        if "uses:" in line
    ]
    assert used
    assert [use for use in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []

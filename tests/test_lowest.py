"""The pins of constraints-lowest.txt are the lower bounds of pyproject.toml."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints-lowest.txt"
UNTRIED = {"torch"}  # the file says why


def name_of(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def lower_bounds(project):
    """Return the version after >= of each dependency that a user may get; those of developers are pinned elsewhere."""
    extras = project["optional-dependencies"]
    users = [*project["dependencies"], *(one for extra in extras.keys() - {"dev", "docs"} for one in extras[extra])]
    return {name_of(one): re.search(r">=\s*([\w.]+)", one)[1] for one in users}


def pins(text):
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = dict(line.split("==") for line in lines)
    assert len(found) == len(lines)
    return {name_of(name): version for name, version in found.items()}


def without_zeros(version):
    return re.sub(r"(\.0)+$", "", version)


def test_the_pins_are_the_lower_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {name: without_zeros(version) for name, version in lower_bounds(project).items() if name not in UNTRIED}
    assert {name: without_zeros(version) for name, version in pins(CONSTRAINTS.read_text()).items()} == bounds


def test_a_bound_is_read_from_a_requirement():
    project = {
        "dependencies": ["a_b>=1.2", "c >= 3, < 4"],
        "optional-dependencies": {"x": ["ray[data]>=2.48"], "dev": ["ruff"]},
    }
    assert lower_bounds(project) == {"a-b": "1.2", "c": "3", "ray": "2.48"}
    assert pins("# why\n\nA_B==1.2.0\n") == {"a-b": "1.2.0"}
    assert without_zeros("2024.10.0.0") == "2024.10"

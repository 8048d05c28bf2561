"""The scripts of benchmarks/ import only what the package has: they run rarely and would fail unnoticed."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imported(path):
    """Return the (module, name) pairs that a script imports from atrous; name is None for a whole module."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found += [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] == "atrous"]


def exists(module, name):
    """Return whether the package has a module and, unless None, an attribute or submodule of it."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "atrous":
            pytest.skip(f"needs {error.name}")
        return False
    return name is None or hasattr(found, name) or exists(f"{module}.{name}", None)


@pytest.mark.parametrize("path", sorted(ROOT.glob("benchmarks/*.py")), ids=lambda path: path.name)
def test_names_exist(path):
    assert [pair for pair in imported(path) if not exists(*pair)] == []


@pytest.mark.parametrize("pair", [("atrous.training.progress", "Progress"), ("atrous.data.samples", "Nothing")])
def test_a_name_that_is_gone_is_noticed(pair):
    assert not exists(*pair)

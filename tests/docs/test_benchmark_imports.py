"""The scripts of benchmarks/ import only what the package has: they run rarely and would fail unnoticed."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imported(path):
    """Yield the module and the name of each import from atrous."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "atrous":
            for alias in node.names:
                yield node.module, alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "atrous":
                    yield alias.name, None


@pytest.mark.parametrize("path", sorted(ROOT.glob("benchmarks/*.py")), ids=lambda path: path.name)
def test_names_exist(path):
    for module, name in imported(path):
        try:
            found = importlib.import_module(module)
            if name is not None and not hasattr(found, name):
                importlib.import_module(f"{module}.{name}")
        except ImportError as error:
            if (error.name or "atrous").split(".")[0] != "atrous":
                pytest.skip(f"needs {error.name}")
            pytest.fail(f"{path.name}: from {module} import {name}: {error}")

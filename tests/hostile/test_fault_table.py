"""docs/reliability.md lists the faults that tests are marked with, and no others."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reliability.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not here")


def marked():
    """Return the faults and promises of all tests."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "pytest.mark.fault" not in text:
            continue
        tree = ast.parse(text)
        texts = {
            ast.unparse(node.targets[0]): node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                name, promise = (each.value if isinstance(each, ast.Constant) else texts[each.id] for each in node.args)
                assert found.setdefault(name, promise) == promise, name
    return found


def listed():
    """Return the faults and promises of the page."""
    table = PAGE.read_text(encoding="utf-8").split("<!-- faults -->")[1].split("<!-- end -->")[0]
    rows = [re.split(r" \| ", line.strip("| ")) for line in table.splitlines() if line.startswith("| ")]
    return {row[0]: row[1] for row in rows if row[0] != "fault"}


def test_the_page_lists_the_faults():
    faults = marked()
    assert len(faults) > 44
    assert listed() == faults
    assert not any("|" in text for pair in faults.items() for text in pair)

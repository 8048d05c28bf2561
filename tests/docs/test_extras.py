"""Extras that messages and pages name exist."""

import re
import tomllib

import pytest
from code_blocks import PAGES, ROOT

PACKAGE = ROOT / "src/atrous"
NAMED = {
    "messages": r"(?:MissingExtra\.of|installation)\((?:[^()]|\([^()]*\))*\"(\w+)\"\)",
    "docstrings": r"\(extra [\"`](\w+)[\"`]\)",
    "pages": r"(?:\.|atrous)\[([\w,]+)\]|extra,? `(\w+)`|\(extra `(\w+)`\)",
}


def names(kind):
    """Return the extras that the sources, or the pages, name."""
    files = PAGES if kind == "pages" else sorted(PACKAGE.rglob("*.py"))
    found = (match.groups() for file in files for match in re.finditer(NAMED[kind], file.read_text(encoding="utf-8")))
    return {name for groups in found for group in groups if group for name in group.split(",")}


@pytest.mark.skipif(not PACKAGE.is_dir(), reason="needs the sources")
@pytest.mark.parametrize("kind", NAMED)
def test_named_extras_exist(kind):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert "torch" in names(kind)
    assert names(kind) - extras.keys() == set()

"""Doctests of the package: only modules with an example are collected, so no other is imported for it."""

from pathlib import Path

PACKAGE = Path(__file__).parent / "src/atrous"
collect_ignore = [str(path) for path in PACKAGE.rglob("*.py") if ">>>" not in path.read_text(encoding="utf-8")]

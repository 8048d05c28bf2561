"""Parameters that a docstring lists in one line, apart: else the reference gives all of them the type of the first."""

import re
from typing import Any

import griffe

# Names without a type, and the indented text below them.
_GROUP = re.compile(r"^(?P<names>\w+(?:, \w+)+)\n(?P<text>(?:    .*\n?)+)", re.MULTILINE)


class Groups(griffe.Extension):
    """For `extensions` of mkdocstrings' Python handler."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Give each name of a group its own entry."""
        if obj.docstring is not None:
            obj.docstring.value = _GROUP.sub(_apart, obj.docstring.value)


def _apart(group: re.Match[str]) -> str:
    text = group["text"].rstrip("\n")
    return "".join(f"{name}\n{text}\n" for name in group["names"].split(", "))

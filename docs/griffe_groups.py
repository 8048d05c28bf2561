"""Griffe extension that gives each name of a numpydoc group such as "height, width" its own type."""

import re
from typing import Any

import griffe

_GROUP = re.compile(r"^(\w+(?:, \w+)+)\n((?:    .*\n?)+)", re.MULTILINE)


class SplitGroups(griffe.Extension):
    """Splits groups without a type into one entry per name; Griffe types them all like the first name."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite an object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _GROUP.sub(_split, obj.docstring.value)


def _split(group: re.Match[str]) -> str:
    return "".join(f"{name}\n{group[2].rstrip()}\n" for name in group[1].split(", "))

"""Tables between the markers of a documentation page."""

from pathlib import Path

from atrous._io import replacing
from atrous.errors import InputError

END = "<!-- end -->"


def insert(path: Path, begin: str, text: str) -> None:
    """Replace what lies between the marker `begin` and the next `<!-- end -->` of a page.

    Raises
    ------
    InputError
        If the page lacks one of them.
    """
    head, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, end, tail = rest.partition(END)
    if not (found and end):
        raise InputError(f"{path}: expected the markers {begin} and {END}; insert them at the table's position")
    with replacing(path) as temporary:
        temporary.write_text(f"{head}{begin}\n\n{text.strip()}\n\n{end}{tail}", encoding="utf-8")

"""The fenced blocks of the README and of docs/, and what their shell lines mean."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<language>[\w-]*) *$")
_COMMENT = re.compile(r"<!-- (?P<what>slow|not run: .+) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block, the line that it begins at, and what the comments above it say."""

    page: Path
    line: int
    language: str
    code: str
    slow: bool
    not_run: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return a page's blocks in order."""
    found = []
    marks: list[str] = []
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence:
            inside = _until_closed(lines, fence["ticks"], len(fence["indent"]), f"{page}:{number}")
            reasons = [mark.removeprefix("not run: ") for mark in marks if mark != "slow"]
            code = "".join(f"{text}\n" for text in inside)
            found.append(Block(page, number, fence["language"], code, "slow" in marks, "; ".join(reasons)))
            marks = []
        elif comment := _COMMENT.match(line.strip()):
            marks.append(comment["what"])
        elif line.strip():
            assert not marks, f"{page}:{number}: <!-- {marks[0]} --> is not followed by a block"
            assert not line.lstrip().startswith("```"), f"{page}:{number}: a fence with more than a language: {line}"
    return found


def _until_closed(lines: Iterator[tuple[int, str]], ticks: str, indent: int, place: str) -> Iterator[str]:
    for _, line in lines:
        if line.strip() == ticks:
            return
        yield line[indent:] if line[:indent].isspace() else line
    raise AssertionError(f"{place}: this block is not closed")


def shell_lines(code: str) -> list[str]:
    """Return the commands of a `sh` block, continued lines joined, comments and empty lines gone."""
    return [line for line in code.replace("\\\n", " ").splitlines() if words(line)]


def words(line: str) -> list[str]:
    """Split a command as a shell does."""
    return shlex.split(line, comments=True)


def atrous_arguments(line: str) -> list[str] | None:
    """Return what `atrous` is given by a line that runs it, by whatever way; None for other lines."""
    given = words(line)
    while given and re.fullmatch(r"[A-Z_]+=.*", given[0]):
        given = given[1:]
    if given and given[0] in ("atrous", ".venv/bin/atrous"):
        return given[1:]
    for at in range(len(given) - 1):
        if given[at : at + 2] == ["-m", "atrous"] and given[0] in ("python", "torchrun"):
            return given[at + 2 :]
    return None

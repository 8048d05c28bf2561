"""Write docs/commands.md from the help of the commands: python docs/write_commands.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from atrous.cli import app

PAGE = Path(__file__).with_name("commands.md")
HEAD = """\
# Commands

<!-- written by docs/write_commands.py -->

All commands and options, as `atrous COMMAND --help` or `-h` prints them. Exit status 0 means success, 1 that
`atrous data check` found a problem in the data, 2 an error (one line on stderr names it and the remedy), 130 that
Ctrl-C or SIGTERM stopped the command (`atrous serve`: 0).
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *_sections(typer.main.get_command(app), "atrous")])


def _sections(command: Any, name: str) -> Iterator[str]:
    context = typer.Context(command, info_name=name)
    rows: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
    for each in command.params:
        shown, text = each.get_help_record(context) or ("", "")
        if each.param_type_name == "argument":
            shown = each.metavar or each.name.upper()
            shown = shown if each.required or shown.startswith("[") else f"[{shown}]"
        if shown:
            rows[each.param_type_name].append((shown, text))
    group = getattr(command, "commands", {})
    usage = [name, *(argument for argument, _ in rows["argument"])]
    usage += ["[OPTIONS]"] * bool(rows["option"]) + ["COMMAND ..."] * bool(group)
    yield f"## {name}\n\n{' '.join(command.help.split())}\n\n```text\n{' '.join(usage)}\n```\n"
    for title in filter(rows.get, rows):
        cells = [[" ".join(cell.split()).replace("|", r"\|") for cell in row] for row in rows[title]]
        yield "\n".join([f"| {title} | |", "|---|---|", *(f"| `{a}` | {b} |" for a, b in cells), ""])
    for each in group.values():
        yield from _sections(each, f"{name} {each.name}")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

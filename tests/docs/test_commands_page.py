"""docs/commands.md says what the commands take."""

import re
import runpy

import pytest
import typer
from code_blocks import ROOT

from atrous.cli import app

PAGE = ROOT / "docs/commands.md"


def leaves(command, prefix="atrous"):
    """{full name: command} of all that can be run."""
    if not hasattr(command, "commands"):
        return {prefix: command}
    return {k: v for name, part in command.commands.items() for k, v in leaves(part, f"{prefix} {name}").items()}


COMMANDS = leaves(typer.main.get_command(app))


def test_the_page_is_what_its_script_writes():
    written = runpy.run_path(str(ROOT / "docs/write_commands.py"))["page"]()
    assert PAGE.read_text(encoding="utf-8") == written, "run python docs/write_commands.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_the_options_that_the_command_line_takes(name):
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert section, f"no section {name}"
    cells = re.findall(r"^\| `([^`]*)`", section[1], re.MULTILINE)
    shown = {option for cell in cells for option in re.findall(r"(?:^|, )(--?[\w-]+)", cell)}
    taken = {opt for p in COMMANDS[name].params for opt in p.opts if opt.startswith("-")}
    assert shown >= taken - {"--help", "-h"}
    assert shown <= taken | {opt for p in COMMANDS[name].params for opt in p.secondary_opts}

"""Every block of the README and of docs/ is run, or says why it is not.

Python blocks of a page run in order in one namespace, `sh` blocks line by line, both in one folder (`small_world`).
`<!-- slow -->` above a block leaves it to `make test-all`; `<!-- not run: reason -->` excepts it, and then its lines
are only read: commands and options have to exist all the same. `text` blocks show output; `$ atrous ...` in them is
read too.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from code_blocks import PAGES, ROOT, Block, atrous_arguments, blocks, shell_lines, words
from PIL import Image
from small_world import make_world
from typer.testing import CliRunner

from atrous.cli import app
from atrous.errors import MissingExtra

BLOCKS = {page: blocks(page) for page in PAGES}
ALL = [block for found in BLOCKS.values() for block in found]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# Without an effect on what the docs claim: they prepare files, or tell the shell something.
HARMLESS = {"mkdir", "cp", "ls", "cat", "cd", "export", "unzip"}
SHELL_SYNTAX = re.compile(r"[|;<>&$`]")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


class Missing(Exception):
    """Something optional is not installed."""


class Notebook:
    """A page on its way through its blocks."""

    def __init__(self) -> None:
        self.names = {"__name__": "__main__"}
        self.missing: list[str] = []

    def run(self, block: Block) -> None:
        run = {"python": self._python, "sh": self._shell, "toml": self._toml, "json": self._json}[block.language]
        with self.optional(block):
            run(block)

    @contextmanager
    def optional(self, block: Block) -> Iterator[None]:
        """Note what is not installed and go on."""
        try:
            yield
        except Missing as missing:
            self.missing.append(f"{block.place}: {missing}")
        except (AssertionError, NameError) as error:
            if not self.missing:
                raise
            # It builds on a block that did not run.
            self.missing.append(f"{block.place}: {str(error).splitlines()[0]}")

    def _python(self, block: Block) -> None:
        # Lines in tracebacks are those of the page.
        code = compile("\n" * block.line + block.code, name_of(block.page), "exec")
        try:
            exec(code, self.names)
        except MissingExtra as error:
            raise Missing(error) from None
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in ("atrous", "tests"):
                raise
            raise Missing(error) from None

    def _shell(self, block: Block) -> None:
        for line in shell_lines(block.code):
            with self.optional(block):
                if (arguments := atrous_arguments(line)) is not None and not SHELL_SYNTAX.search(line):
                    self._atrous(block, arguments)
                elif not read_only(block, line):
                    self._process(block, line)

    def _atrous(self, block: Block, arguments: list[str]) -> None:
        expanded = [found for a in arguments for found in (sorted(map(str, Path().glob(a))) if "*" in a else [a])]
        result = CliRunner().invoke(app, expanded)
        if isinstance(result.exception, MissingExtra):
            raise Missing(result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise AssertionError(f"{block.place}: atrous {' '.join(arguments)}") from result.exception
        assert result.exit_code == 0, f"{block.place}: atrous {' '.join(arguments)}\n{result.output}{result.stderr}"

    def _process(self, block: Block, line: str) -> None:
        bin_folder = Path(sys.executable).parent
        paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(paths),
        }
        # `atrous` may not be installed where the tests run from a source tree.
        line = re.sub(r"^(\.venv/bin/)?atrous ", "python -m atrous ", line)
        done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True)
        if "ModuleNotFoundError" in done.stderr and "atrous" not in done.stderr.splitlines()[-1]:
            raise Missing(done.stderr.splitlines()[-1])
        assert done.returncode == 0, f"{block.place}: {line}\n{done.stdout}{done.stderr}"

    def _toml(self, block: Block) -> None:
        table = tomllib.loads(block.code)
        try:
            from atrous.training.config import Recipe, read_recipe
        except MissingExtra as error:
            raise Missing(error) from None
        if table.keys() & ({field.name for field in fields(Recipe)} | {"recipe"}):
            Path("recipe.toml").write_text(block.code)
            read_recipe("recipe.toml")

    def _json(self, block: Block) -> None:
        json.loads(block.code)


def read_only(block: Block, line: str) -> bool:
    """Check a line that a test does not run; False if it is one to run."""
    program, *rest = words(line)
    if program in ("pip", ".venv/bin/pip"):
        for extras in re.findall(r"\[([\w,]+)\]", line):
            assert set(extras.split(",")) <= set(EXTRAS), f"{block.place}: no such extra: {line}"
        return True
    if program == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert rest, f"{block.place}: {line}"
        assert set(rest) <= targets, f"{block.place}: no such target: {line}"
        return True
    script = program == "python" and rest[0].endswith(".py") and ROOT / rest[0]
    if script and (block.not_run or script.parent.name == "benchmarks"):
        text = script.read_text()
        for option in rest:
            assert not option.startswith("--") or f'"{option}"' in text, f"{block.place}: no such option: {line}"
        return True
    if block.not_run:
        return True
    assert program in {"python", "atrous", ".venv/bin/atrous"} | HARMLESS, (
        f"{block.place}: this test does not know how to run {line!r}"
    )
    return False


def parse(block: Block, arguments: list[str]) -> None:
    """Read a command's arguments as the command line does, without running it."""
    command = typer.main.get_command(app)
    arguments = list(arguments)
    while hasattr(command, "commands"):
        if not arguments or arguments[0] in ("-h", "--help"):
            return
        assert arguments[0] in command.commands, f"{block.place}: no such command: {arguments[0]}"
        command = command.commands[arguments.pop(0)]
    try:
        command.make_context("atrous", arguments)
    except typer.Exit:  # --help
        pass
    except Exception as error:
        raise AssertionError(f"{block.place}: atrous {' '.join(arguments)}: {error}") from error


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image.Image, "show", lambda image: image.load())
    made = Notebook()
    yield made
    if made.missing:
        pytest.skip("; ".join(made.missing))


def runnable(page: Path) -> list[Block]:
    return [block for block in BLOCKS[page] if block.language in ("python", "sh", "toml", "json") and not block.not_run]


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=name_of)
def test_blocks_run(page, notebook):
    make_world(Path())
    for block in runnable(page):
        if not block.slow:
            notebook.run(block)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if any(block.slow for block in runnable(p))], ids=name_of)
def test_slow_blocks_run_too(page, notebook):
    make_world(Path(), vgg16=find_spec("torch") is not None)
    for block in runnable(page):
        notebook.run(block)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_exist(page):
    for block in BLOCKS[page]:
        if block.language == "text":
            lines = [line[2:] for line in block.code.splitlines() if line.startswith("$ ")]
        elif block.language == "sh":
            lines = shell_lines(block.code)
        else:
            continue
        for line in lines:
            if (arguments := atrous_arguments(line)) is not None:
                parse(block, [word for word in arguments if word != "&"])
            elif block.language == "sh" and block.not_run:
                read_only(block, line)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_languages_are_known(page):
    for block in BLOCKS[page]:
        known = ("python", "sh", "toml", "json", "text")
        assert block.language in known or block.not_run, f"{block.place}: {block.language or 'no language'}"


def test_few_blocks_are_excepted():
    code = [block for block in ALL if block.language not in ("text", "toml", "json")]
    excepted = [block for block in code if block.not_run]
    listed = "\n".join(f"{block.place}: {block.not_run}" for block in excepted)
    assert len(excepted) <= 0.4 * len(code), f"{len(excepted)} of {len(code)} blocks are not run:\n{listed}"
    assert all(block.language != "python" or len(block.not_run) > 10 for block in excepted), listed

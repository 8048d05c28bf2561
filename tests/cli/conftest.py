import re

import pytest
from PIL import Image
from typer.testing import CliRunner

from atrous.cli import app
from atrous.errors import InputError


@pytest.fixture
def segment(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments, stdin=None):
        result = CliRunner().invoke(app, ["segment", "--model", str(tiny_model), *map(str, arguments)], input=stdin)
        if isinstance(result.exception, InputError):  # what `main` prints
            return 2, result.stdout, f"error: {result.exception}\n"
        assert result.exception is None or isinstance(result.exception, SystemExit)
        if "-" in arguments[:-1] and arguments[arguments.index("-") - 1] == "--out":
            return result.exit_code, result.stdout_bytes, result.stderr
        # "[3/10] " is how far the run is.
        return result.exit_code, re.sub(r"(?m)^\[\d+/\d+\] ", "", result.stdout), result.stderr

    return run


@pytest.fixture
def photo(tmp_path, red_square):
    def save(name):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(red_square).save(path)
        return path

    return save

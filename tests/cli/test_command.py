import pytest
import typer
from typer.testing import CliRunner

from atrous.cli.command import Command
from atrous.errors import InputError


@pytest.mark.parametrize(
    ("given", "message", "said"),
    [
        (["--out", "there"], "out: expected a folder", "--out: expected a folder"),
        (["--out", "there"], "out='there': expected a folder, or None", "--out 'there': expected a folder"),
        (["--out", "out"], "out: cannot be written", "out: cannot be written"),  # the file
        ([], "out: expected a folder", "out: expected a folder"),  # the default, or a setting from elsewhere
        (["--out", "there"], "there: exists; pass out=elsewhere", "there: exists; pass --out elsewhere"),
    ],
)
def test_errors_name_the_option_that_was_given(given, message, said):
    app = typer.Typer()

    @app.command(cls=Command)
    def run(out: str = "x") -> None:
        raise InputError(message)

    error = CliRunner().invoke(app, given).exception
    assert isinstance(error, InputError)
    assert str(error) == said

"""The command line: one module per command."""

import sys
from typing import Annotated

import typer

from ..errors import ComputeError, InputError

app = typer.Typer(
    name="atrous",
    help="DeepLab for Python: photos to masks, sharp at the edges.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from ..version import own_version

        typer.echo(f"atrous {own_version()}")
        raise typer.Exit


@app.callback()
def _atrous(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version, and end.")
    ] = False,
) -> None:
    pass


def _register() -> None:
    from .bench import bench
    from .bulk import bulk
    from .convert import convert
    from .data import data
    from .evaluate import evaluate
    from .export import export
    from .refine import refine
    from .segment import segment
    from .serve import serve
    from .train import train
    from .tune import tune

    for command in (segment, refine, serve, bulk, train, evaluate, tune, convert, export, bench):
        app.command()(command)
    app.add_typer(data)


_register()


def main() -> None:
    """Run a command; a mistake of the user's, or what cannot be computed, is one line on stderr and exit status 2."""
    try:
        app()
    except (InputError, ComputeError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()

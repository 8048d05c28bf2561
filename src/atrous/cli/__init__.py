"""The command line: one module per command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .._printable import printable
from ..errors import InputError, RunError
from .terminal import guard_streams, say


class _Commands(TyperGroup):
    """The commands. What a usage error repeats of the command line is escaped."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _escaped():
            return super().make_context(*args, **kwargs)

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        try:
            with _escaped():
                return super().invoke(*args, **kwargs)
        except KeyboardInterrupt:  # of a command that has no more to say of it
            say("error: interrupted", err=True)
            raise typer.Exit(130) from None


@contextmanager
def _escaped() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Typer has click's exceptions, and newer versions a copy of them.
        if hasattr(error, "format_message"):
            error.message = printable(error.message)  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    name="atrous",
    cls=_Commands,
    help="DeepLab for Python: photos to masks, sharp at the edges.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from .._provenance import own_version

        say(f"atrous {own_version()}")
        raise typer.Exit


@app.callback()
def _atrous(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_say_version, is_eager=True, help="Say the version, and end.")
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


def _line(error: Exception) -> str | None:
    """Return what there is to say of an error that is no fault of the program's; None if it may be one."""
    if isinstance(error, (InputError, RunError)):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory; close other programs, or give the command less at a time"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.filename or 'the system'}: {error.strerror or error}"
    if isinstance(error, ImportError):  # of a library that is installed; what is missing is a MissingExtra
        return f"{error.name or 'a library'}: cannot be imported ({(str(error).splitlines() or [''])[0]:.300})"
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "the system starts no more threads; look at its limits of memory and processes (ulimit -a)"
    return None


def main() -> None:
    """Run a command; a mistake of the user's, or what cannot be computed, is one line on stderr and exit status 2."""
    guard_streams()
    try:
        app()
    except Exception as error:
        if (line := _line(error)) is None:
            raise
        say(f"error: {line}", err=True)
        raise SystemExit(2) from None
    finally:
        sys.stdout.flush()


if __name__ == "__main__":
    main()

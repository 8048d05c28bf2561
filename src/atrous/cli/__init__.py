"""Command line interface, with one module per command."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .._signals import all_interrupt
from ..errors import InputError, RunError
from .command import Command
from .terminal import guard_streams, print_line


class _Commands(TyperGroup):
    """Group of the commands. Usage errors are one line, like all other errors."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _usage_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        try:
            with all_interrupt(), _usage_errors():
                return super().invoke(*args, **kwargs)
        except KeyboardInterrupt:  # from a command without its own message
            print_line("error: interrupted", err=True)
            raise typer.Exit(130) from None


@contextmanager
def _usage_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Typer's exceptions are click's, or a copy of them in newer versions.
        usage: Any = error
        if not hasattr(usage, "format_message") or type(usage).__name__ == "NoArgsIsHelpError":
            raise
        message = usage.format_message().rstrip(".")
        print_line(f"error: {message}; see {usage.ctx.command_path} --help", err=True)
        raise typer.Exit(usage.exit_code) from None


app = typer.Typer(
    name="atrous",
    cls=_Commands,
    help="DeepLab for Python: segmentation of photos and videos, with sharp edges.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        from .._provenance import own_version

        print_line(f"atrous {own_version()}")
        raise typer.Exit


@app.callback()
def _atrous(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version and exit."),
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
        app.command(cls=Command)(command)
    app.add_typer(data)


_register()


# A web address that became a path.
_COLLAPSED = re.compile(r"\b(https?):/(?=[^/])")


def _line(error: Exception) -> str | None:
    """Return the message for an error that is not a bug of the program; None for others."""
    if isinstance(error, (InputError, RunError)):
        line, addresses = _COLLAPSED.subn(r"\1://", str(error))
        return f"{line}; only atrous segment and atrous bulk read web addresses" if addresses else line
    if isinstance(error, MemoryError):
        return "not enough memory; close other programs, or process less at a time"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.filename or 'the system'}: {error.strerror or error}"
    if isinstance(error, ImportError):  # of an installed library; a missing library is a MissingExtra
        return f"{error.name or 'a library'}: cannot be imported ({(str(error).splitlines() or [''])[0]:.300})"
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "the system cannot start more threads; check its limits of memory and processes (ulimit -a)"
    return None


def main() -> None:
    """Run a command. Print errors of the user or the system as one line on stderr and exit with status 2."""
    guard_streams()
    try:
        app()
    except Exception as error:
        if (line := _line(error)) is None:
            raise
        print_line(f"error: {line}", err=True)
        raise SystemExit(2) from None
    finally:
        sys.stdout.flush()


if __name__ == "__main__":
    main()

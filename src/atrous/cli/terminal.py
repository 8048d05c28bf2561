"""Printing to standard output and standard error, also where they are closed, full or not read."""

import errno
import io
import os
import sys
from contextlib import nullcontext, suppress
from typing import TextIO

import typer

from .._printable import printable


def say(line: object, *, err: bool = False) -> None:
    """Print one line: a message, or a name, whatever characters are in it."""
    _echo(printable(line), err=err)


def show(text: str) -> None:
    """Print lines, such as a table, in which names are printable already."""
    _echo("\n".join(map(printable, text.split("\n"))))


def _echo(text: str, *, err: bool = False) -> None:
    stream = sys.stderr if err else sys.stdout
    if stream is None:  # closed before the start
        return
    encoding = stream.encoding or "utf-8"
    with suppress(OSError) if err else nullcontext():
        typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err)


def guard_streams() -> None:
    """End this process with status 1, without a traceback, when standard output cannot be written.

    A full disk is reported in one line on standard error, a reader that has gone (`| head`) is not. What cannot be
    written to standard error is lost. Streams that were closed before the start discard everything.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened would get its number, and with it what a library prints.
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: PTH123, SIM115
    sys.stdout = _guarded(sys.stdout, 1)
    sys.stderr = _guarded(sys.stderr, 2)


def _guarded(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        return open(os.devnull, "w")  # noqa: PTH123
    try:
        own = stream.fileno() == number
    except (OSError, ValueError, AttributeError):  # somebody else's object
        own = False
    if not own or (os.name == "nt" and stream.isatty()):  # Python's own way to a console, which never fills up
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Guarded(number, stream)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=number == 2 or stream.isatty(),
    )


class _Guarded(io.FileIO):
    """A descriptor whose write errors end the process; those of standard error are ignored."""

    def __init__(self, number: int, stream: TextIO) -> None:
        super().__init__(number, "w", closefd=False)
        self._stream = stream  # which would close the descriptor when nobody held it

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            number = self.fileno()
            # What is still in buffers goes nowhere, without an error at the end.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
            if number == 2:
                return super().write(data)  # type: ignore[arg-type]
            if error.errno not in (errno.EPIPE, errno.EINVAL):  # EINVAL: a pipe's reader has gone, on Windows
                say(f"error: standard output: cannot be written ({error.strerror or error})", err=True)
            raise SystemExit(1) from None

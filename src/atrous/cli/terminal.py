"""Standard streams that tolerate closed pipes and full disks."""

import errno
import io
import os
import sys
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from typing import TextIO

import typer

from .._printable import printable


def print_line(line: object, *, err: bool = False) -> None:
    """Print a message or a name on one line, with control characters escaped."""
    _echo(printable(line), err=err)


def print_notes(notes: Iterable[str]) -> None:
    """Print notes to stderr."""
    for note in notes:
        print_line(f"note: {note}", err=True)


def print_text(text: str) -> None:
    """Print lines, such as a table, in which names are already escaped."""
    _echo("\n".join(map(printable, text.split("\n"))))


def _echo(text: str, *, err: bool = False) -> None:
    stream = sys.stderr if err else sys.stdout
    if stream is None:  # closed before the start
        return
    encoding = stream.encoding or "utf-8"
    with suppress(OSError) if err else nullcontext():
        typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err)


def guard_streams() -> None:
    """Exit with status 1, without a traceback, if standard output cannot be written.

    A full disk is reported in one line on standard error; a closed pipe (`| head`) is not. Write errors of standard
    error are ignored. Streams that were closed before the start discard everything.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Otherwise the next opened file would get the descriptor, and libraries would write into it.
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: PTH123, SIM115
    sys.stdout = _guarded(sys.stdout, 1)
    sys.stderr = _guarded(sys.stderr, 2)


def _guarded(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        return open(os.devnull, "w")  # noqa: PTH123
    try:
        own = stream.fileno() == number
    except (OSError, ValueError, AttributeError):  # an object of another library
        own = False
    if not own or (os.name == "nt" and stream.isatty()):  # Python's console stream, which never fills up
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Guarded(number, stream)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=number == 2 or stream.isatty(),
    )


class _Guarded(io.FileIO):
    """File descriptor whose write errors end the process; those of standard error are ignored."""

    def __init__(self, number: int, stream: TextIO) -> None:
        super().__init__(number, "w", closefd=False)
        self._stream = stream  # keeps the descriptor open

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            number = self.fileno()
            # Discard the buffers without an error at exit.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
            if number == 2:
                return super().write(data)  # type: ignore[arg-type]
            if error.errno not in (errno.EPIPE, errno.EINVAL):  # EINVAL: a closed pipe on Windows
                print_line(f"error: standard output: cannot be written ({error.strerror or error})", err=True)
            raise SystemExit(1) from None

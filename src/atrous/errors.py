"""Errors caused by inputs, and failures of runs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something given by the user cannot be used.

    The message is one line: what it concerns (a file, an argument), what was expected, what was got
    and the remedy. Commands print it and exit with status 2.
    """


class InputTypeError(InputError, TypeError):
    """An argument has a wrong type."""

    @classmethod
    def unless(cls, right_type: bool) -> type[InputError]:
        """Return the class to raise for a value that cannot be used: `InputError` if its type is right."""
        return InputError if right_type else cls


class RunError(RuntimeError):
    """A run failed though its input can be used: the loss diverged, or a worker or another process died.

    The message is one line as that of `InputError`.
    """


class ComputeError(RunError):
    """A network cannot be computed on this machine, for example because the GPU's memory is full."""

    @classmethod
    def of_network(cls, shape: tuple[int, ...], device: str, error: Exception) -> "ComputeError":
        """Return the error for a failure of a network's library on an image of shape (H, W, 3)."""
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "") or type(error).__name__
        remedy = "a smaller max_side" if device == "cpu" else "a smaller max_side, or the device 'cpu'"
        size = f"{shape[0]}x{shape[1]}"
        return cls(f"the network failed on {size} pixels, on {device} ({reason[:200]}); try {remedy}")


class MissingExtra(InputError, ImportError):
    """A command or a class needs an optional dependency; the message names the extra to install."""

    @classmethod
    def of(cls, reason: str, extra: str) -> "MissingExtra":
        """Return the error for a dependency that an extra installs."""
        return cls(f"{reason}; {installation(extra)}")


def installation(extra: str) -> str:
    """Return the remedy for a missing optional dependency."""
    return f"install the extra '{extra}' (pip install '.[{extra}]' in a copy of the repository)"


@contextmanager
def as_input_error(path: str | os.PathLike[str], verb: str = "written", remedy: str = "") -> Iterator[None]:
    """Raise an OSError of the block as an InputError: the file of the error, or else `path`, cannot be `verb`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be {verb} ({error.strerror or error}){remedy}") from None

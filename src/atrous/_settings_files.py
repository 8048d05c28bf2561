"""Bounded readers of untrusted text files: JSON, TOML, and lists with one name per line."""

import json
import os
from pathlib import Path
from typing import Any

from .errors import InputError, as_input_error

# Limits in bytes: settings files, and score files with counts per image.
LARGEST = 1 << 22
LARGEST_SCORES = 1 << 30
_LARGEST_RECIPE = 1 << 16
_LARGEST_LIST = 1 << 28  # a few million names

LONGEST_NAME = 200  # characters of a class name
_MOST_DOTS = 100  # per line; the cost of `a.b.c = 1` is quadratic in its number of parts


def read_bytes(path: str | os.PathLike[str], expected: str, largest: int = LARGEST) -> bytes:
    """Read a file of at most `largest` bytes; raise InputError on failure."""
    path = Path(path)
    with as_input_error(path, "read", f"; expected {expected}"), path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise InputError(f"{path}: expected {expected} of up to {largest:,} bytes, got a larger file")
    return data


def read_json(path: str | os.PathLike[str], expected: str, largest: int = LARGEST) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : path
    expected : str
        Description of the contents for the message.
    largest : int
        Limit in bytes.

    Raises
    ------
    InputError
        If the file cannot be read, is too large, is not UTF-8 text or not JSON, or is nested too deep.
    """
    return parse_json(read_bytes(path, expected, largest), str(path), expected)


def parse_json(text: str | bytes, source: str, expected: str) -> Any:
    """Parse JSON; raise InputError, naming `source`, if it is invalid or nested too deep."""
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except RecursionError:
        raise InputError(f"{source}: expected {expected}, got JSON that is nested too deep") from None
    except ValueError as error:
        raise InputError(f"{source}: expected {expected}, got something that is not JSON ({error!s:.100})") from None


def read_toml(path: str | os.PathLike[str], expected: str) -> dict[str, Any]:
    """Read a TOML file of up to 64 KiB; raise InputError on failure."""
    data = read_bytes(path, expected, _LARGEST_RECIPE)
    try:
        return parse_toml(data.decode("utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected {expected}, got something that is not TOML ({error!s:.100})") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises
    ------
    ValueError
        If the text is not TOML, or its keys or values are nested too deep.
    """
    import tomllib  # only needed for training

    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > _MOST_DOTS and not line.lstrip().startswith("#"):
            raise ValueError(f"line {number} has more than {_MOST_DOTS} dots")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_lines(path: str | os.PathLike[str], expected: str) -> list[str]:
    """Return the lines of a UTF-8 text file, without surrounding whitespace and without empty lines at the end.

    A byte order mark and the line endings of all systems are accepted.

    Parameters
    ----------
    path
        The file.
    expected : str
        Description of the contents for the message.

    Raises
    ------
    InputError
        If the file cannot be read, is not UTF-8 text, or is empty.
    """
    data = read_bytes(path, expected, _LARGEST_LIST)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: expected {expected}, got bytes that are not UTF-8 in line {place}; save it as UTF-8"
        ) from None
    if "\0" in text:
        raise InputError(f"{path}: expected {expected}, got NUL bytes; save it as UTF-8 text")
    # str.splitlines would also split at characters that are valid in names, such as U+2028.
    lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError(f"{path}: expected {expected}, got an empty file")
    return lines

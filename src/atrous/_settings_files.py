"""Bounded readers of JSON and TOML: small files of settings, from whoever sent them."""

import json
import os
from pathlib import Path
from typing import Any

from .errors import InputError

# Bytes of a file of settings, and of scores with the counts of each image.
LARGEST = 1 << 22
LARGEST_SCORES = 1 << 30
_LARGEST_RECIPE = 1 << 16
_MOST_DOTS = 100  # in a line: `a.b.c = 1` takes time and memory that grow with the square of its parts


def read_bytes(path: str | os.PathLike[str], expected: str, largest: int = LARGEST) -> bytes:
    """Read a file of at most `largest` bytes; InputError where that fails."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected {expected}") from None
    if len(data) > largest:
        raise InputError(f"{path}: expected {expected} of up to {largest:,} bytes, got a larger file")
    return data


def read_json(path: str | os.PathLike[str], expected: str, largest: int = LARGEST) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : path
    expected : str
        The contents, for the message.
    largest : int
        Bytes.

    Raises
    ------
    InputError
        If the file cannot be read, is larger, is no UTF-8 text or no JSON, or is nested too deep.
    """
    return parse_json(read_bytes(path, expected, largest), str(path), expected)


def parse_json(text: str | bytes, source: str, expected: str) -> Any:
    """Read JSON; InputError, which names `source`, if it is none or nested too deep."""
    try:
        return json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except RecursionError:
        raise InputError(f"{source}: expected {expected}, got JSON that is nested too deep") from None
    except ValueError as error:
        raise InputError(f"{source}: expected {expected}, got something that is not JSON ({error!s:.100})") from None


def read_toml(path: str | os.PathLike[str], expected: str) -> dict[str, Any]:
    """Read a TOML file of up to 64 KiB; InputError where that fails."""
    data = read_bytes(path, expected, _LARGEST_RECIPE)
    try:
        return parse_toml(data.decode("utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected {expected}, got something that is not TOML ({error!s:.100})") from None


def parse_toml(text: str) -> dict[str, Any]:
    """Read TOML.

    Raises
    ------
    ValueError
        If it is none, or has keys or values that are nested too deep.
    """
    import tomllib  # of training alone

    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > _MOST_DOTS and not line.lstrip().startswith("#"):
            raise ValueError(f"line {number} has more than {_MOST_DOTS} dots")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None

"""Text files that hold one thing a line: class lists, lists of images, color tables."""

import os

from atrous._settings_files import read_bytes
from atrous.errors import InputError

LONGEST_NAME = 200  # characters of a class' name
_LARGEST = 1 << 28  # bytes: some millions of names


def read_lines(path: str | os.PathLike[str], expected: str) -> list[str]:
    """Read a UTF-8 text file's lines, without the white space around them and without empty ones at the end.

    A byte order mark and the line ends of any system are understood.

    Parameters
    ----------
    path
        The file.
    expected : str
        What it should hold, for errors.

    Raises
    ------
    InputError
        The file cannot be read, is not UTF-8, or has nothing in it.
    """
    data = read_bytes(path, expected, _LARGEST)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {place} is not UTF-8 text; expected {expected}; save it as UTF-8") from None
    if "\0" in text:
        raise InputError(f"{path}: holds NUL bytes; expected {expected}; save it as UTF-8 text")
    # str.splitlines would also split at characters that a name may hold, such as U+2028.
    lines = [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise InputError(f"{path}: expected {expected}, got an empty file")
    return lines

"""Escaping of control characters in names and messages."""

import unicodedata

# Control and format characters (ESC, BEL, changes of writing direction), halves of characters, line and paragraph ends.
_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Two format characters that Persian, Indic scripts and emoji are spelled with.
_SPELLING = frozenset("\u200c\u200d")


def printable(text: object) -> str:
    r"""Return a name or a message on one line, what would steer a terminal or hide its text escaped.

    Parameters
    ----------
    text : object
        A string, or anything that `str` makes one of, such as a path.

    Examples
    --------
    >>> print(printable("photo\x1b]0;title\x07\n.jpg"))
    photo\x1b]0;title\x07\n.jpg
    """
    text = str(text)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character in _SPELLING or unicodedata.category(character) not in _STEERING:
        return character
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")

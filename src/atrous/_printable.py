"""Escaping of control characters in names and messages."""

import unicodedata

# Control and format characters (ESC, BEL, changes of writing direction), surrogates, line and paragraph separators.
_ESCAPED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Two format characters (zero-width joiners) that Persian, Indic scripts and emoji need.
_JOINERS = frozenset("\u200c\u200d")


def printable(text: object) -> str:
    r"""Return a name or a message on one line, with control characters escaped.

    Parameters
    ----------
    text : object
        A string, or an object that `str` converts, such as a path.

    Examples
    --------
    >>> print(printable("image\x1b]0;title\x07\n.jpg"))
    image\x1b]0;title\x07\n.jpg
    """
    text = str(text)
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _ESCAPED_CATEGORIES:
        return character
    if "\udc80" <= character <= "\udcff":  # a byte of a file name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")

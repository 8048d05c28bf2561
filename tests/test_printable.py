import os

import pytest

from atrous._printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photo 1.jpg", "photo 1.jpg"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m\x7f\x00\x85", "\\x9b31m\\x7f\\x00\\x85"),  # C1's CSI, DEL, NUL, NEL
        ("two\nlines\r\tand\u2028more\u2029", "two\\nlines\\r\\tand\\u2028more\\u2029"),
        ("\u202egnp.exe\u2066\u2069\u200f\u061c", "\\u202egnp.exe\\u2066\\u2069\\u200f\\u061c"),
        ("\u200bzero\ufeffwidth\u00ad", "\\u200bzero\\ufeffwidth\\xad"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("क्\u200dष 写真 🧑\u200d🚀 می\u200cشود 9.41\u202fAM", "क्\u200dष 写真 🧑\u200d🚀 می\u200cشود 9.41\u202fAM"),
        (r"C:\photos\new", r"C:\photos\new"),
    ],
)
def test_what_steers_a_terminal_is_escaped_and_names_of_all_scripts_are_not(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown

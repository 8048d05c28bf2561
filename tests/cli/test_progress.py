import io
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from every_command import ODD

from atrous.cli.progress import progress_bar


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_shows_an_odd_name_escaped(monkeypatch):
    drawn = _Terminal()
    monkeypatch.setattr(sys, "stderr", drawn)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with progress_bar(f"{ODD}.mp4", counted=False) as update:
        update(0.3, 1.0, text="3 frames")
    shown = drawn.getvalue()
    assert "a\\x1b]0;t\\x07\\n\\u202e[b]{c}.mp4" in shown
    assert "3 frames" in shown
    assert " 30%" in shown
    assert not {"\x07", "\u202e"} & set(shown)


def test_a_bar_takes_new_labels_and_totals(monkeypatch):
    drawn = _Terminal()
    monkeypatch.setattr(sys, "stderr", drawn)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("reading") as update:
        update(1, 3)
        update(2, 4, label="grid")
    assert "grid" in drawn.getvalue()
    assert "2/4" in drawn.getvalue()


@pytest.mark.parametrize("shown", [True, False])
def test_no_bar_without_a_terminal(monkeypatch, shown):
    drawn = io.StringIO() if shown else _Terminal()
    monkeypatch.setattr(sys, "stderr", drawn)
    with progress_bar("reading", 3, shown=shown) as update:
        update(1)
    assert drawn.getvalue() == ""

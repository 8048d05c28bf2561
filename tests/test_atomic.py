import os
import re
import stat
from pathlib import Path

import pytest

from atrous.atomic import replacing, replacing_folder


def test_the_file_appears_whole(tmp_path):
    target = tmp_path / "mask.png"
    with replacing(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == tmp_path
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert [p.name for p in tmp_path.iterdir()] == ["mask.png"]


def write_and_interrupt(target):
    with replacing(target) as temporary:
        temporary.write_text("after")
        raise KeyboardInterrupt


def test_a_failure_leaves_what_was_there(tmp_path):
    target = tmp_path / "mask.png"
    target.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_and_interrupt(target)
    assert target.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["mask.png"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX file modes")
def test_the_file_has_the_usual_permissions(tmp_path):
    with replacing(tmp_path / "a") as temporary:
        temporary.write_text("")
    (tmp_path / "b").write_text("")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"}
    assert len(modes) == 1


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    target = tmp_path / f"{'x' * 251}.png"
    with replacing(target) as temporary:
        temporary.write_text("whole")
    assert target.read_text() == "whole"


@pytest.mark.skipif(os.name == "nt", reason="POSIX file modes")
def test_the_umask_is_never_changed(tmp_path, monkeypatch):
    # It belongs to all threads: two that ask for it by setting it may leave it at 0.
    def umask(mask):
        raise AssertionError(mask)

    monkeypatch.setattr(os, "umask", umask)
    with replacing(tmp_path / "a") as temporary:
        temporary.write_text("")
    with replacing_folder(tmp_path / "b") as folder:
        (folder / "c").write_text("")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "b", "c"]


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for target in (tmp_path / "missing" / "mask.png", tmp_path / "folder.png", tmp_path / f"{'x' * 300}.png"):
        with pytest.raises(OSError, match=re.escape(str(target))) as error, replacing(target) as temporary:
            temporary.write_text("whole")
        assert error.value.filename == str(target)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "frames"
    for content in ("before", "after"):
        with replacing_folder(target) as temporary:
            (temporary / content).write_text(content)
    assert [p.name for p in tmp_path.rglob("*")] == ["frames", "after"]


def test_a_folder_that_cannot_be_renamed_leaves_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "frames"
    target.mkdir()
    (target / "before").write_text("")
    rename, tried = Path.rename, []

    def failing(self, to):
        tried.append(to)
        if len(tried) == 2:  # the new one, into the old one's place
            raise OSError(5, "Input/output error")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output"), replacing_folder(target) as temporary:
        (temporary / "after").write_text("")
    assert [p.name for p in tmp_path.rglob("*")] == ["frames", "before"]

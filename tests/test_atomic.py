import os
import stat

import pytest

from atrous.atomic import replacing


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

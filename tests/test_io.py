import errno
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import atrous
from atrous._io import (
    remove_folder,
    remove_stale,
    replacing,
    replacing_folder,
    transaction,
    write_bytes,
)


def test_the_file_appears_whole(tmp_path):
    target = tmp_path / "mask.png"
    with replacing(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent.parent == tmp_path
        assert temporary.name == "mask.png"
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


def fail_at(monkeypatch, number):
    """Make the `number`-th rename from now on fail, counted from 0."""
    seen = []

    def failing(plain):
        def move(self, to):
            seen.append(to)
            if len(seen) == number + 1:
                raise OSError(errno.EIO, "Input/output error", str(self), str(to))
            return plain(self, to)

        return move

    for name in ("rename", "replace"):
        monkeypatch.setattr(Path, name, failing(getattr(Path, name)))
    return seen


@pytest.mark.parametrize("number", [0, 1])
def test_a_folder_that_cannot_be_renamed_leaves_what_was_there(tmp_path, monkeypatch, number):
    target = tmp_path / "frames"
    target.mkdir()
    (target / "before").write_text("")
    fail_at(monkeypatch, number)
    with pytest.raises(OSError, match="Input/output"), replacing_folder(target) as temporary:
        (temporary / "after").write_text("")
    assert [p.name for p in tmp_path.rglob("*")] == ["frames", "before"]


def write_together(folder, text):
    with transaction() as outputs:
        outputs.file(folder / "mask").write_text(text)
        outputs.file(folder / "overlay").write_text(text)
        (outputs.folder(folder / "frames") / "1").write_text(text)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_several_are_all_there_or_none_whichever_rename_fails(tmp_path, monkeypatch):
    whole = dict.fromkeys(("mask", "overlay", "frames/1"), "new")
    for before in ({}, {"mask": "old", "overlay": "old", "frames/1": "old"}, {"overlay": "old"}):
        for number in range(20):
            folder = tmp_path / f"{len(before)}{number}"
            (folder / "frames").mkdir(parents=True)
            if "frames/1" not in before:
                (folder / "frames").rmdir()
            for name, text in before.items():
                (folder / name).write_text(text)
            with monkeypatch.context() as patch:
                seen = fail_at(patch, number)
                try:
                    write_together(folder, "new")
                    break
                except OSError:
                    assert contents(folder) == before
        assert number == len(seen) == 3 + len(before)
        assert contents(folder) == whole
        assert sorted(p.name for p in folder.iterdir()) == ["frames", "mask", "overlay"]


def test_the_first_is_removed_first_and_put_in_place_last(tmp_path, monkeypatch):
    write_together(tmp_path, "old")
    seen = fail_at(monkeypatch, 99)
    write_together(tmp_path, "new")
    assert [path.name for path in seen] == ["mask", "overlay", "frames", "frames", "overlay", "mask"]


def test_a_folder_in_the_place_of_one_leaves_them_all(tmp_path):
    for name in ("mask", "overlay"):
        folder = tmp_path / name / name
        folder.mkdir(parents=True)
        with pytest.raises(IsADirectoryError) as error:
            write_together(tmp_path / name, "new")
        assert error.value.filename == str(folder)
        assert list((tmp_path / name).rglob("*")) == [folder]


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no devices")
def test_what_is_no_file_is_not_replaced(tmp_path):
    (tmp_path / "link").symlink_to("/dev/null")
    with pytest.raises(OSError, match="regular") as error:
        write_bytes(tmp_path / "link", b"content")
    assert error.value.errno == errno.EINVAL
    assert (tmp_path / "link").is_symlink()


def test_a_transaction_within_another_writes_into_its_file(tmp_path):
    with replacing(tmp_path / "model") as temporary:
        write_bytes(temporary, b"inner")
        assert not (tmp_path / "model").exists()
    assert contents(tmp_path) == {"model": "inner"}


@pytest.mark.skipif(os.name == "nt", reason="POSIX file modes")
def test_a_file_that_a_library_made_private_is_given_the_usual_permissions(tmp_path):
    with transaction() as outputs:
        outputs.file(tmp_path / "a").chmod(0o600)
        inner = outputs.folder(tmp_path / "f") / "b"
        inner.touch(0o600)
    (tmp_path / "usual").write_text("")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "f/b", "usual")}
    assert len(modes) == 1


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([os.fspath(Path(atrous.__file__).parents[1]), *sys.path])}
DIES = """
import os, signal, sys
from pathlib import Path
from atrous._io import transaction
with transaction() as outputs:
    outputs.file(Path(sys.argv[1], "mask")).write_text("half")
    print("ready", flush=True)
    sys.stdin.read()
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def start(folder, how):
    process = subprocess.Popen(
        [sys.executable, "-c", DIES, folder, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout.readline() == b"ready\n"
    return process


def run_code(code, *arguments):
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=ENVIRONMENT, timeout=60)


@pytest.mark.skipif(os.name == "nt", reason="no file locks")
def test_what_a_dead_run_left_is_removed_and_not_what_another_is_writing(tmp_path):
    (tmp_path / ".other.tmp").write_text("not ours")
    (tmp_path / ".atrous-not-a-name.tmp").mkdir()
    alive, dead = start(tmp_path, "live"), start(tmp_path, "die")
    dead.communicate(timeout=60)
    assert dead.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".atrous-*-*.tmp/mask"))) == 2
    # The first file that a process writes into a folder.
    code = f"import sys; from pathlib import Path; sys.path.insert(0, {sys.path[0]!r}); " + (
        f"from atrous._io import write_bytes; write_bytes(Path({str(tmp_path)!r}, 'mask'), b'next')"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert len(list(tmp_path.glob(".atrous-*-*.tmp/mask"))) == 1
    assert (tmp_path / "mask").read_text() == "next"
    assert alive.communicate(timeout=60) == (b"", b"")
    assert alive.returncode == 0
    assert contents(tmp_path) == {"mask": "half", ".other.tmp": "not ours"}


@pytest.mark.parametrize(("age", "left"), [(3600, True), (100_000, False)])
def test_what_another_machine_left_is_removed_after_a_day(tmp_path, age, left):
    stale = tmp_path / ".atrous-00000000-0123456789ab.tmp"
    stale.mkdir()
    (stale / "mask").write_text("half")
    os.utime(stale, (time.time() - age,) * 2)
    remove_stale(tmp_path)
    assert stale.exists() is left
    remove_stale(tmp_path, alone=True)
    assert not stale.exists()


@pytest.mark.skipif(os.name == "nt", reason="os.read and resource limits")
@pytest.mark.parametrize("length", [1, 5000, 100_000])
def test_short_writes_are_written_on_or_raised(tmp_path, length):
    content = os.urandom(length)
    code = f"""
import resource, sys
from pathlib import Path
from atrous._io import write_bytes
content = Path(sys.argv[1]).read_bytes()
for size in range(0, len(content) + {length} // 7 + 1, max(1, len(content) // 7)):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    target = Path(sys.argv[2], str(size))
    try:
        write_bytes(target, content)
        assert size >= len(content) and target.read_bytes() == content, size
    except OSError as error:
        assert size < len(content) and error.filename == str(target) and not target.exists(), (size, error)
"""
    (tmp_path / "content").write_bytes(content)
    (tmp_path / "out").mkdir()
    run_code(code, tmp_path / "content", tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))


def test_a_folder_is_deleted_whole(tmp_path):
    (tmp_path / "checkpoint/deep").mkdir(parents=True)
    remove_folder(tmp_path / "checkpoint")
    assert list(tmp_path.iterdir()) == []

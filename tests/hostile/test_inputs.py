"""Photos that vanish, change, block or cannot be read, and folders that lead nowhere."""

import os
import re
import shutil
import socket
from pathlib import Path

import pytest
from command import MAIN, run

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX files")

OTHERS = "One line names the image; the others are segmented. Exit status 2."


def masks(out):
    return {path.name for path in out.rglob("*.png")}


@posix
@pytest.mark.fault("a device or a socket as an image", "Rejected with one line; at most its first bytes are read.")
@pytest.mark.parametrize("kind", ["/dev/zero", "/dev/urandom", "/dev/null", "/dev/tty", "socket"])
def test_no_regular_file(light, draw, model, tmp_path, kind):
    path = tmp_path / "photo.png"
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(os.fspath(path))
    else:
        if not Path(kind).exists():
            pytest.skip(f"needs {kind}")
        path.symlink_to(kind)
    draw(tmp_path / "good.png")
    done = light("segment", path, tmp_path / "good.png", "--out", tmp_path / "out", *model)
    done.refused(r"photo\.png")
    assert masks(tmp_path / "out") == {"good.png"}


@posix
@pytest.mark.fault("a FIFO or a device in a folder of images", "Skipped without waiting.")
def test_no_regular_file_in_a_folder(light, draw, model, tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    draw(tmp_path / "good.png")
    light("segment", tmp_path, "--out", tmp_path / "out", *model).done()
    assert masks(tmp_path / "out") == {"good.png"}


@posix
@pytest.mark.fault("an unreadable image", OTHERS)
def test_unreadable_photo(draw, model, tmp_path):
    draw(tmp_path / "in/bad.png").chmod(0)
    draw(tmp_path / "in/good.png")
    done = run("segment", tmp_path / "in", "--out", tmp_path / "out", *model, unprivileged=True)
    done.refused(r"bad\.png: Permission denied")
    assert masks(tmp_path / "out") == {"good.png"}


@posix
@pytest.mark.fault(
    "an unreadable subfolder", "One line names the folder; the other images are segmented. Exit status 2."
)
def test_unreadable_folder(draw, model, tmp_path):
    draw(tmp_path / "in/closed/bad.png")
    draw(tmp_path / "in/good.png")
    (tmp_path / "in/closed").chmod(0)
    try:
        done = run("segment", tmp_path / "in", "--out", tmp_path / "out", *model, unprivileged=True)
    finally:
        (tmp_path / "in/closed").chmod(0o755)
    done.refused(r"closed.*Permission denied")
    assert masks(tmp_path / "out") == {"good.png"}


@posix
@pytest.mark.fault("cyclic links", "Each image is segmented once.")
def test_link_loops(light, draw, model, tmp_path):
    draw(tmp_path / "in/a/photo.png")
    (tmp_path / "in/a/up").symlink_to("..", target_is_directory=True)
    (tmp_path / "in/loop.png").symlink_to("loop.png")
    (tmp_path / "in/nowhere.png").symlink_to("none")
    done = light("segment", tmp_path / "in", "--out", tmp_path / "out", *model).done()
    assert masks(tmp_path / "out") == {"photo.png"}
    assert done.out.count(b"\n") == 1


# Runs the command; when a file is opened for the n-th time, something is done.
BEFORE = """
import os, sys
opened = 0
def told(event, arguments):
    global opened
    path = arguments[0] if arguments and event == "open" else None
    if isinstance(path, (str, os.PathLike)) and {watched!r} in os.fspath(path):
        opened += 1
        if opened == {time}:
            {do}
sys.addaudithook(told)
"""


def before(watched, time, do):
    return "-c", BEFORE.format(watched=os.fspath(watched), time=time, do=do) + MAIN


@posix
@pytest.mark.fault("an image that is deleted, truncated or replaced by a folder during the run", OTHERS)
@pytest.mark.parametrize(
    "do", ["os.remove(path)", "os.truncate(path, 90)", "os.truncate(path, 0)", "os.remove(path); os.mkdir(path)"]
)
def test_photo_changes(photos, model, tmp_path, do):
    given = shutil.copytree(photos, tmp_path / "in")
    # First its head is looked at, whether it is a mask.
    done = run("segment", given, "--out", tmp_path / "out", *model, program=before("photo3.png", 2, do))
    done.refused(r"photo3\.png")
    assert len(done.errors) == 1
    assert masks(tmp_path / "out") == {f"photo{i}.png" for i in range(6) if i != 3}


@posix
@pytest.mark.fault("a model file deleted during the run", "The run finishes with the loaded model.")
def test_model_goes(job, photos, model, tmp_path):
    segment = job("segment")
    (tmp_path / "copy").mkdir()
    # Masks store a key of the model's name.
    copy = Path(shutil.copy(model[1], tmp_path / "copy"))
    program = before(".tmp/photo", 1, f"os.truncate({os.fspath(copy)!r}, 0); os.remove({os.fspath(copy)!r})")
    run("segment", photos, "--out", segment.out, "--model", copy, *model[2:], program=program).done()
    assert not copy.exists()
    segment.expected.check_all(segment.out, "the model goes")


@pytest.mark.fault(
    "a list with missing or impossible file names",
    "One line names the image and the list; exit status 2.",
)
@pytest.mark.parametrize("line", ["nothing", "x" * 300, "../../etc/passwd", "a\x1b[31m", "/dev/zero"])
def test_listed_nothing(light, tiny_voc, model, tmp_path, line):
    listed = tmp_path / "list.txt"
    listed.write_text(f"photo0\n{line}\n")
    light("evaluate", tiny_voc, "--list", listed, *model).refused(re.escape(os.fspath(listed.name)))


@pytest.mark.fault("an empty folder, and one without images", "One line and exit status 2.")
def test_no_photos(light, model, tmp_path):
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/.hidden.jpg").write_bytes(b"")
    (tmp_path / "in/notes.txt").write_text("none")
    light("segment", tmp_path / "in", "--out", tmp_path / "out", *model).refused("expected images")
    assert not (tmp_path / "out").exists()

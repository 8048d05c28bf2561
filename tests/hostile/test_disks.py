"""Disks and folders that take no more, or nothing at all."""

import errno
import os
import shutil

import pytest
from command import NARROW, Mount, run
from forks import points
from outputs import contents

WHOLE = (
    "One line names the file; exit status 2. No file is truncated; once space is free, the same command completes the"
    " output."
)
REFUSED = "One line names the folder and the reason; exit status 2. Nothing is changed."

# File operations of each command that are tried in the short suite, and in the long one.
SOME = {"segment": 2, "refine": 1, "evaluate": 1, "tune": 1, "bulk": 1}
MANY = {**dict.fromkeys(SOME, 1000), "convert": 1000, "train": 20, "export": 5}

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX folders and permissions")


def fail_and_run_again(job, most):
    for at in points(job.operations, most):
        for error, stays in ((errno.EIO, False), (errno.ENOSPC, True)):
            job.clear()
            failed = job(fault=job.fault(at, error=error, stays=stays))
            when = f"{os.strerror(error)} at {at} of {job.operations}"
            # Tidying up may fail without harm.
            failed.check(failed.status if failed.status == 0 else 2)
            assert failed.status == 0 or failed.errors, when
            job.expected.check_so_far(job.out, when)
            again = job()
            assert again.status == 0, (when, again.err)
            job.expected.check_all(job.out, when)


@pytest.mark.fault("a failing file operation (EIO), or all from one on (ENOSPC)", WHOLE)
@pytest.mark.parametrize("name", SOME)
def test_some_operations_fail(job, name):
    fail_and_run_again(job(name), SOME[name])


@pytest.mark.slow
@pytest.mark.fault("a failing file operation (EIO), or all from one on (ENOSPC)", WHOLE)
@pytest.mark.parametrize("name", MANY)
def test_many_operations_fail(job, name):
    fail_and_run_again(job(name), MANY[name])


@pytest.mark.fault("a full disk, and free space later", WHOLE)
@pytest.mark.parametrize(
    "sizes",
    [("8k", "20k"), pytest.param([f"{kib}k" for kib in range(4, 48, 4)], marks=pytest.mark.slow)],
    ids=["some sizes", "all sizes"],
)
def test_full_disk(job, tmp_path, sizes):
    """A real one: a disk in memory of each size."""
    segment = job("segment")
    for size in sizes:
        kept = tmp_path / size
        kept.mkdir()
        full = run(*segment.arguments, mounts=[Mount(segment.out, size=size, keep=kept)])
        full.refused("No space left on device")
        segment.expected.check_so_far(kept, size)
        assert not list(kept.rglob("*.tmp"))
        shutil.copytree(kept, segment.out, dirs_exist_ok=True)
        segment().done()
        segment.expected.check_all(segment.out, size)
        segment.clear()


@pytest.mark.fault("a read-only disk", REFUSED)
def test_read_only_disk(job):
    segment = job("segment")
    run(*segment.arguments, mounts=[Mount(segment.out, readonly=True)]).refused("Read-only file system")
    assert contents(segment.out) == {}


@posix
@pytest.mark.fault("an output folder without permission to write", REFUSED)
@pytest.mark.parametrize("name", ["segment", "tune", pytest.param("train", marks=pytest.mark.slow)])
def test_no_permission(job, name):
    commanded = job(name)
    commanded.out.chmod(0o555)
    try:
        program = (NARROW,) if name == "train" else ("-m", "atrous")
        run(*commanded.arguments, program=program, unprivileged=True).refused("Permission denied")
        assert contents(commanded.out) == {}
    finally:
        commanded.out.chmod(0o755)


@posix
@pytest.mark.fault("an output folder that is a file, a dangling link or a cyclic link", REFUSED)
@pytest.mark.parametrize("name", ["segment", "bulk", pytest.param("train", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["file", "loop", "dangling"])
def test_output_is_no_folder(job, tmp_path, name, kind):
    commanded = job(name)
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    else:
        out.symlink_to("out" if kind == "loop" else "nowhere")
    arguments = [out if word == commanded.out else word for word in commanded.arguments]
    commanded.forks(*arguments).refused(str(out))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert kind != "file" or out.read_text() == "mine"


@posix
@pytest.mark.fault("a folder at the path of an output file", REFUSED)
def test_a_folder_in_the_masks_place(job):
    segment = job("segment")
    (segment.out / "photo2.png").mkdir()
    segment().refused(r"photo2\.png")
    assert not (segment.out / "photo2.overlay.jpg").exists()
    (segment.out / "photo2.png").rmdir()
    segment().done()
    segment.expected.check_all(segment.out, "the folder is away")


@pytest.mark.fault("an output folder that links to another disk", "The outputs are the same.")
def test_other_disk(job, tmp_path):
    segment = job("segment")
    (tmp_path / "disk").mkdir()
    kept = tmp_path / "kept"
    kept.mkdir()
    (tmp_path / "link").symlink_to("disk")
    arguments = [tmp_path / "link" if word == segment.out else word for word in segment.arguments]
    run(*arguments, mounts=[Mount(tmp_path / "disk", size="4m", keep=kept)]).done()
    segment.expected.check_all(kept, "on another disk")


@posix
@pytest.mark.fault("umask 077", "Outputs are readable by the user only.")
def test_umask(photos, model, tmp_path):
    run("segment", photos, "--out", tmp_path / "out", *model, umask=0o077).done()
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*")}
    assert modes == {0o600}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700

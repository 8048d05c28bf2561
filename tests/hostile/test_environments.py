"""Environments without what most have: HOME, TMPDIR, /proc, a UTF-8 locale, a folder to stand in."""

import os

import pytest
from command import MAIN, Mount, run

SAME = "The outputs are the same. Nothing else is written."
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX environments")


@pytest.fixture
def segment(job):
    return job("segment")


def check_same(segment, **options):
    done = run(*segment.arguments, **options)
    assert done.status == 0, done
    assert done.errors == []
    segment.expected.check_all(segment.out, str(options))
    return done


@pytest.mark.fault("no HOME, no USER, no PATH", SAME)
def test_no_home(segment):
    check_same(segment, without=["HOME", "USER", "LOGNAME", "PATH", "USERPROFILE"])


@pytest.mark.fault("a read-only or missing HOME", SAME)
@pytest.mark.parametrize("home", ["/proc", "relative/and/not/there"])
def test_home_unwritable(segment, home):
    check_same(segment, env={"HOME": home}).check(0)


@pytest.mark.fault("a missing TMPDIR", SAME)
def test_no_tmpdir(segment):
    check_same(segment, env={"TMPDIR": "/nonexistent"})


@posix
@pytest.mark.fault("a full TMPDIR", "The outputs are the same, or one line names TMPDIR as the remedy.")
@pytest.mark.parametrize("name", ["segment", pytest.param("tune", marks=pytest.mark.slow)])
def test_full_tmpdir(job, tmp_path, name):
    commanded = job(name)
    (tmp_path / "tmp").mkdir()
    mounts = [Mount(tmp_path / "tmp", size="4k")]
    done = run(*commanded.arguments, env={"TMPDIR": tmp_path / "tmp"}, mounts=mounts)
    if done.status:
        done.refused("TMPDIR")
    else:
        done.done()
        commanded.expected.check_all(commanded.out, "full TMPDIR")


@posix
@pytest.mark.fault("no /proc and no /sys", SAME)
def test_no_proc(segment):
    # ONNX Runtime's own warnings of it are colored.
    check_same(segment, mounts=[Mount("/sys", size="64k"), Mount("/proc", size="64k")])


@posix
@pytest.mark.fault("a full /dev/shm", SAME)
def test_no_shared_memory(segment):
    check_same(segment, mounts=[Mount("/dev/shm", size="4k", readonly=True)])


@posix
@pytest.mark.fault(
    "an ASCII locale and file names that are not valid text", "Names are printed escaped and unchanged in outputs."
)
def test_ascii_locale(draw, model, tmp_path):
    names = ["caf\u00e9", "\u65e5\u672c", os.fsdecode(b"\xff\xfe")]
    for name in names:
        draw(tmp_path / "in" / f"{name}.png")
    environment = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("segment", tmp_path / "in", "--out", tmp_path / "out", *model, env=environment)
    done.done()
    assert done.out.count(b"\n") == 3
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {f"{name}.png" for name in names}


@posix
@pytest.mark.fault("a deleted working directory", "Absolute paths work; a relative --out is an error of one line.")
def test_no_working_folder(segment, photos, model, tmp_path):
    gone = "import os, sys; os.rmdir(os.getcwd())\n" + MAIN
    (tmp_path / "gone").mkdir()
    check_same(segment, cwd=tmp_path / "gone", program=("-c", gone))
    (tmp_path / "gone").mkdir()
    arguments = ("segment", photos, "--out", "out", *model)
    run(*arguments, cwd=tmp_path / "gone", program=("-c", gone)).refused("out")


@pytest.mark.fault("invalid terminal variables", SAME)
def test_terminal_nonsense(segment):
    check_same(segment, env={"TERM": "\x1b[31m", "COLUMNS": "-1", "LINES": "x", "FORCE_COLOR": "maybe"})


@pytest.mark.fault("invalid thread variables", SAME)
def test_thread_nonsense(segment):
    check_same(segment, env={"OMP_NUM_THREADS": "many", "OPENBLAS_NUM_THREADS": "-3", "MKL_NUM_THREADS": ""})


@pytest.mark.fault("Python's switches -OO, -X dev, -W error", SAME)
@pytest.mark.parametrize(
    "switches", [("-X", "dev", "-W", "error"), pytest.param(("-OO", "-I", "-B"), marks=pytest.mark.slow)]
)
def test_python_switches(segment, switches):
    check_same(segment, program=(*switches, "-m", "atrous")).check(0)


@pytest.mark.fault("images dated 1970 and in the future", SAME)
def test_times_of_photos(segment, photos, model, tmp_path):
    import shutil

    given = shutil.copytree(photos, tmp_path / "photos")
    for i, path in enumerate(sorted(given.iterdir())):
        os.utime(path, (0, 0) if i % 2 else (2**33, 2**33))
    run("segment", given, "--out", segment.out, *model).done()
    segment.expected.check_all(segment.out, "times")


# Each reading of the clock is hours before or after the one before.
JUMPS = """
import itertools, sys, time
seconds = itertools.cycle([0, 9e4, -9e4, 3e8, -3e8])
real = time.time
time.time = lambda: real() + next(seconds)
"""


@pytest.mark.fault("a clock that jumps back and forth", SAME)
@pytest.mark.parametrize("name", ["segment", pytest.param("tune", marks=pytest.mark.slow)])
def test_clock_jumps(job, name):
    commanded = job(name)
    run(*commanded.arguments, program=("-c", JUMPS + MAIN)).done()
    commanded.expected.check_all(commanded.out, "clock jumps")

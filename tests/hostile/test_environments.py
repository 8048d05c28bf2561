"""Environments without what most have: HOME, TMPDIR, /proc, a UTF-8 locale, a folder to stand in."""

import os

import pytest
from command import Mount, run
from outputs import contents

SAME = "The outputs are the same, and nothing is written elsewhere."
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


@pytest.mark.fault("a HOME that cannot be written, or is not there", SAME)
@pytest.mark.parametrize("home", ["/proc", "/nonexistent/home", "relative", ""])
def test_home_unwritable(segment, home):
    check_same(segment, env={"HOME": home}).check(0)


@posix
@pytest.mark.fault("an empty HOME and TMPDIR", "Both stay empty.")
@pytest.mark.parametrize("name", ["segment", "refine", "evaluate", "tune"])
def test_home_stays_empty(job, tmp_path, name):
    commanded = job(name)
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    environment = {"HOME": tmp_path / "home", "TMPDIR": tmp_path / "tmp"}
    done = run(*commanded.arguments, env=environment, without=["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"])
    assert done.status == 0, done
    # Matplotlib's list of the machine's fonts.
    left = {name for name in contents(tmp_path) if not name.startswith(("home/.config/mat", "home/.cache/mat"))}
    assert left == set()


@pytest.mark.fault("a TMPDIR that is not there, full or read-only", SAME)
@pytest.mark.parametrize("name", ["segment", "evaluate"])
def test_no_tmpdir(job, name):
    commanded = job(name)
    run(*commanded.arguments, env={"TMPDIR": "/nonexistent"}).done()
    commanded.expected.check_all(commanded.out, "no TMPDIR")


@posix
@pytest.mark.fault("a full TMPDIR", "One line names TMPDIR as the remedy, or the outputs are the same.")
@pytest.mark.parametrize("name", ["segment", "tune", "bulk"])
def test_full_tmpdir(job, tmp_path, name):
    commanded = job(name)
    (tmp_path / "tmp").mkdir()
    options = {"env": {"TMPDIR": tmp_path / "tmp"}, "mounts": [Mount(tmp_path / "tmp", size="4k")]}
    if name == "bulk":
        pytest.skip("Ray's own")
    done = run(*commanded.arguments, **options)
    assert done.status in (0, 2), done
    if done.status == 2:
        done.refused("TMPDIR")
    else:
        commanded.expected.check_all(commanded.out, "full TMPDIR")


@posix
@pytest.mark.fault("no /proc and no /sys", SAME)
def test_no_proc(segment):
    # ONNX Runtime's own warnings of it are colored.
    check_same(segment, mounts=[Mount("/sys", size="64k"), Mount("/proc", size="64k")])


@posix
@pytest.mark.fault("no room in /dev/shm", SAME)
def test_no_shared_memory(segment):
    check_same(segment, mounts=[Mount("/dev/shm", size="4k", readonly=True)])


@posix
@pytest.mark.fault(
    "a locale of ASCII, and names that are no text", "Names are printed escaped; outputs have them as they are."
)
@pytest.mark.parametrize("coding", ["ascii", "latin-1"])
def test_ascii_locale(draw, model, tmp_path, coding):
    names = ["caf\u00e9", "\u65e5\u672c", os.fsdecode(b"\xff\xfe")]
    for name in names:
        draw(tmp_path / "in" / f"{name}.png")
    environment = {"LC_ALL": "C", "PYTHONIOENCODING": f"{coding}:strict", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("segment", tmp_path / "in", "--out", tmp_path / "out", *model, env=environment)
    done.done()
    assert done.out.count(b"\n") == 3
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {f"{name}.png" for name in names}


@posix
@pytest.mark.fault("a working folder that is gone", "Absolute paths work; a relative --out is refused in one line.")
def test_no_working_folder(segment, photos, model, tmp_path):
    gone = "import os, sys; os.rmdir(os.getcwd()); from atrous.cli import main; sys.argv[0] = 'atrous'; main()"
    (tmp_path / "gone").mkdir()
    check_same(segment, cwd=tmp_path / "gone", program=("-c", gone))
    (tmp_path / "gone").mkdir()
    arguments = ("segment", photos, "--out", "out", *model)
    run(*arguments, cwd=tmp_path / "gone", program=("-c", gone)).refused("out")


@pytest.mark.fault("terminal variables that are nonsense", SAME)
def test_terminal_nonsense(segment):
    check_same(segment, env={"TERM": "\x1b[31m", "COLUMNS": "-1", "LINES": "x", "FORCE_COLOR": "maybe"})


@pytest.mark.fault("thread variables that are nonsense", SAME)
def test_thread_nonsense(segment):
    check_same(segment, env={"OMP_NUM_THREADS": "many", "OPENBLAS_NUM_THREADS": "-3", "MKL_NUM_THREADS": ""})


@pytest.mark.fault("Python's switches: -OO, -W error, -I, -B", SAME)
@pytest.mark.parametrize("switches", [("-OO",), ("-W", "error"), ("-I", "-B"), ("-X", "dev")])
def test_python_switches(segment, switches):
    check_same(segment, program=(*switches, "-m", "atrous")).check(0)


@pytest.mark.fault("photos of the year 1970 and of the future", SAME)
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
hours = itertools.cycle([0, 9e4, -9e4, 3e8, -3e8])
real = time.time
time.time = lambda: real() + next(hours)
from atrous.cli import main
sys.argv[0] = "atrous"
main()
"""


@pytest.mark.fault("a clock that jumps back and forth", SAME)
@pytest.mark.parametrize("name", ["segment", "tune"])
def test_clock_jumps(job, name):
    commanded = job(name)
    run(*commanded.arguments, program=("-c", JUMPS)).done()
    commanded.expected.check_all(commanded.out, "clock jumps")

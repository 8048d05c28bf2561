import errno
import os
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from atrous import cli
from atrous.errors import InputError, MissingExtra


def run(*arguments, cwd, **variables):
    command = [sys.executable, "-m", "atrous", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, env=environment)


def test_help_names_the_commands(tmp_path):
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    for command in ("segment", "refine", "train", "evaluate", "tune", "export"):
        assert command in done.stdout


def test_a_users_mistake_is_one_line_and_status_2(tmp_path):
    done = run("segment", "nowhere.jpg", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: nowhere.jpg: no such file or folder\n"
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["refine ADDRESS b.npy", "bench ADDRESS", "evaluate ADDRESS"])
def test_web_addresses_elsewhere_are_named_as_given(tmp_path, command):
    address = "https://example.com/a.jpg"
    done = run(*command.replace("ADDRESS", address).split(), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"error: {address}: ")
    assert "atrous segment" in done.stderr


def test_an_input_error_inside_a_command_is_not_a_traceback(tmp_path):
    done = run("evaluate", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--max-side", "0"], "--max-side 0: expected"),
        (["--max-crf-pixels", "3"], "--max-crf-pixels: expected"),
        (["--device", "tpu"], "--device 'tpu': expected"),
    ],
)
def test_errors_name_the_option_in_place_of_the_argument(tmp_path, red_square, options, says):
    Image.fromarray(red_square).save(tmp_path / "photo.png")
    done = run("segment", "photo.png", *options, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"error: {says}")
    assert "None" not in done.stderr


def test_a_setting_of_a_recipe_is_named_as_it_is_written_there(tmp_path, tiny_voc):
    pytest.importorskip("torch", reason="needs the extra 'train'")
    (tmp_path / "mine.toml").write_text("crop = -3\n")
    done = run("train", str(tiny_voc), "--out", "run", "--list", "train", "--recipe", "mine.toml", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "crop=-3" in done.stderr
    assert "--crop" not in done.stderr


def test_the_version(tmp_path):
    import atrous

    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"atrous {atrous.__version__}\n")
    assert "__version__" in dir(atrous)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["bench", "--runs", "0"], ["--runs", "atrous bench --help"]),
        (["segment"], ["PATH", "atrous segment --help"]),
        (["segment", "--no\x1bpe", "photo.jpg"], [r"--no\x1bpe", "atrous segment --help"]),
        (["data", "check", "--void", "300", "there"], ["--void", "atrous data check --help"]),
        (["nothing"], ["nothing", "atrous --help"]),
    ],
)
def test_a_usage_error_is_one_line_that_names_the_help(arguments, named):
    done = CliRunner().invoke(cli.app, arguments, prog_name="atrous")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert all(words in done.stderr for words in named)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (InputError("photo.jpg: damaged"), "photo.jpg: damaged"),
        (MissingExtra("ray is not installed"), "ray is not installed"),
        (OSError(errno.EMFILE, "Too many open files", "list.txt"), "list.txt: Too many open files"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Cannot allocate memory"),
        (MemoryError(), "not enough memory"),
        (ImportError("libx.so: failed to map\nsegment", name="libx"), "libx: cannot be imported"),
        (RuntimeError("can't start new thread"), "more threads"),
    ],
)
def test_what_the_system_refuses_is_one_line(monkeypatch, capsys, error, says):
    def fail():
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("a bug"), OSError("a library's own")])
def test_what_may_be_a_bug_keeps_its_traceback(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(type(error)):
        cli.main()


@pytest.mark.parametrize(
    ("words", "expected"),
    [("atrous re", ["refine"]), ("atrous segment --ov", ["--overlay", "--overwrite"]), ("atrous segment ph", [])],
)
def test_words_are_completed_and_nothing_is_installed_unasked(tmp_path, words, expected):
    # The shell's variable has the name of the program.
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'atrous'; from atrous.cli import main; main()"]
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1), "_ATROUS_COMPLETE": "complete_bash"}
    environment = {**os.environ, "HOME": str(tmp_path), **asked}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, expected, "")
    assert not list(tmp_path.iterdir())


def test_help_starts_fast(tmp_path):
    done = run("--help", cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "atrous.cli.segment" in imported
    assert not {"numpy", "PIL", "onnxruntime", "urllib.request", "ssl"} & imported

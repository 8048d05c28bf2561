import subprocess
import sys


def run(*arguments, cwd):
    command = [sys.executable, "-m", "atrous", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)


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


def test_an_input_error_inside_a_command_is_not_a_traceback(tmp_path):
    done = run("evaluate", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_version(tmp_path):
    import atrous

    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"atrous {atrous.__version__}\n")
    assert "__version__" in dir(atrous)

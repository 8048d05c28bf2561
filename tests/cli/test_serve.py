import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from atrous.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["atrous", "serve", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "python_multipart"])
def test_without_the_extra_it_says_what_to_install(monkeypatch, capsys, package):
    for each in ("fastapi", "uvicorn", "python_multipart"):
        monkeypatch.setitem(sys.modules, each, None if each == package else sys)
    monkeypatch.setattr(sys, "__spec__", object(), raising=False)
    code, err = command(monkeypatch, capsys)
    assert code == 2
    assert err.startswith(f"error: {package} is not installed")
    assert "extra 'web'" in err
    assert err.count("\n") == 1


def test_the_command_alone_does_not_import_the_server():
    code = "import sys, atrous.cli.serve; print([m for m in ('fastapi', 'uvicorn', 'numpy') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "[]"


def test_what_cannot_be_served(monkeypatch, capsys, tmp_path):
    pytest.importorskip("fastapi")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, says in [
            (["--port", port], f"127.0.0.1:{port}: address already in use; choose another --port"),
            (["--host", "no.such.host.invalid"], "host no.such.host.invalid: not known"),
            (["--host", "192.0.2.1", "--port", 0], "192.0.2.1:0: cannot assign requested address"),
            (["--port", 0, "--model", tmp_path / "none.onnx"], "none.onnx: no such file"),
            (["--queue", -1], "queue -1: expected at least 0"),
            (["--workers", 0], "workers 0: expected at least 1"),
            (["--max-megapixels", 0], "max-megapixels 0.0: expected more than 0"),
            (["--max-megabytes", "nan"], "max-megabytes nan: expected more than 0"),
            (["--origin", "https://my.site/"], "origin https://my.site/: expected what a browser sends"),
            (["--root-path", "odd"], "--root-path odd: expected a path that starts with /"),
        ]:
            code, err = command(monkeypatch, capsys, *arguments)
            assert code == 2
            assert err.count("\n") == 1
            assert err.startswith("error: ")
            assert says in err


# Told of every connection, datagram and look-up of a name that Python makes; what would leave this machine is refused.
GUARD = """
import os, sys

def told(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"):
        place = arguments[0] if event.startswith("socket.get") else arguments[1]
        host = place[0] if isinstance(place, tuple) else place
        if host not in (None, "", "127.0.0.1", "localhost", "::1") and not str(host).startswith("/"):
            with open(os.environ["TOLD"], "a") as file:
                file.write(f"{event} {host}\\n")
            raise OSError("nothing leaves this machine")

sys.addaudithook(told)
"""


@pytest.fixture
def guarded(tmp_path_factory):
    """The environment of a process that may not reach anything outside, and the file that tells what it tried."""
    folder = tmp_path_factory.mktemp("guard")
    (folder / "sitecustomize.py").write_text(GUARD)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TOLD": str(folder / "told")}, folder / "told"


def test_the_guard_sees_who_goes_out(guarded):
    environment, told = guarded
    code = "import urllib.request; urllib.request.urlopen('http://example.invalid/', timeout=5)"
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True).returncode == 1
    assert told.read_text() == "socket.getaddrinfo example.invalid\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("with_signal", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_serves_until_it_is_asked_to_stop_and_nothing_leaves_the_machine(tiny_model, tmp_path, with_signal, guarded):
    pytest.importorskip("fastapi")
    environment, told = guarded
    environment |= {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    arguments = ["--port", "0", "--model", str(tiny_model)]
    process = subprocess.Popen(
        [sys.executable, "-m", "atrous", "serve", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        line = process.stdout.readline()
        url = re.match(r"(http://localhost:\d+)/ ", line)[1]
        with urllib.request.urlopen(f"{url}/api/health", timeout=20) as answer:
            assert b'"model":"tiny.onnx"' in answer.read()
        with urllib.request.urlopen(f"{url}/", timeout=20) as page:
            assert b"<html" in page.read()
        photo = urllib.request.Request(
            f"{url}/api/segment", (EXAMPLES / "cat.jpg").read_bytes(), {"Content-Type": "image/jpeg"}
        )
        with urllib.request.urlopen(photo, timeout=60) as mask:
            assert mask.read(4) == b"\x89PNG"
        assert list(tmp_path.iterdir()) == []
        process.send_signal(with_signal)
        rest, err = process.communicate(timeout=20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert (process.returncode, rest, err) == (0, "stopped\n", "")
    assert list(tmp_path.iterdir()) == []  # no image stays behind
    assert not told.exists(), told.read_text()


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize(
    ("with_signal", "caught"),  # a library that catches everything catches what the signal raises, too
    [
        (signal.SIGINT, False),
        (signal.SIGTERM, True),
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.slow),
        pytest.param("SIGHUP", False, marks=pytest.mark.slow),
    ],
)
def test_asked_to_stop_before_it_serves_it_leaves_nothing_behind(tiny_model, tmp_path, with_signal, caught):
    pytest.importorskip("fastapi")
    number = getattr(signal, with_signal) if isinstance(with_signal, str) else with_signal  # Windows has no SIGHUP
    # Stopped in the middle of the long imports.
    code = (
        "import os, signal, sys; from atrous.cli import main\n"
        f"signal.signal({int(number)}, signal.SIG_DFL)\n"  # whoever runs the tests by nohup has it ignored
        "class Finder:\n"
        "    def find_spec(name, *_):\n"
        "        try:\n"
        f"            if name == 'uvicorn': os.kill(os.getpid(), {int(number)}); sum(range(100))\n"
        f"        except BaseException:\n"
        f"            if not {caught}: raise\n"
        "sys.meta_path.insert(0, Finder)\n"
        f"sys.argv = ['atrous', 'serve', '--port', '0', '--model', {str(tiny_model)!r}]; main()"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("stopped\n", "")
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []

"""The server as a process: floods of connections, signals, files from strangers, and what it writes."""

import io
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from clients import form, ids
from PIL import Image

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and limits")


@contextmanager
def running(tiny_model, folder, *arguments, limits=None, code=None):
    """Run `atrous serve`; yields the process and its port."""
    command = [sys.executable, *(["-c", code] if code else ["-m", "atrous"]), "serve", "--port", "0"]
    command += ["--model", str(tiny_model), "--threads", "1", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=environment, text=True, preexec_fn=limits, **pipes)
    try:
        line = process.stdout.readline()
        assert line.startswith("http://"), process.communicate()
        yield process, int(re.match(r"http://localhost:(\d+)/ ", line)[1])
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def ended(process, seconds):
    """Wait for the end; return the seconds it took, the status and what was printed."""
    start = time.monotonic()
    out, err = process.communicate(timeout=seconds)
    return time.monotonic() - start, process.returncode, out, err


# A program whose network takes forever.
STUCK = """
import sys, threading, time
from atrous.backends.onnxruntime import OnnxEngine
scores = OnnxEngine.scores
def stuck(self, image):
    if image.shape[0] != 65:  # not the warm-up
        time.sleep(1000)
    return scores(self, image)
OnnxEngine.scores = stuck
from atrous.cli import main
sys.argv = ["atrous", *sys.argv[1:], "--engine", "onnxruntime"]
main()
"""


@pytest.mark.parametrize(
    ("signals", "most"), [([signal.SIGTERM], 5), ([signal.SIGINT, signal.SIGINT], 2)], ids=["SIGTERM", "Ctrl-C twice"]
)
def test_it_ends_whatever_is_computed(tiny_model, tmp_path, picture, signals, most):
    answers = []

    def post():
        answers.append(httpx.post(f"http://127.0.0.1:{port}/api/segment", **form(picture()), timeout=60))

    with running(tiny_model, tmp_path, code=STUCK) as (process, port):
        threads = [threading.Thread(target=post) for _ in range(4)]
        for thread in threads:
            thread.start()
        url = f"http://127.0.0.1:{port}/api/health"
        while (health := httpx.get(url).json())["running"] + health["waiting"] < 4:
            time.sleep(0.05)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.3)
        seconds, status, out, err = ended(process, 20)
        for thread in threads:
            thread.join()
    assert (status, out, err) == (0, "stopped\n", "")
    assert seconds < most
    assert [answer.status_code for answer in answers] == 4 * [503]
    assert list(tmp_path.iterdir()) == []


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


def test_idle_connections_keep_nobody_out(tiny_model, tmp_path, picture, truth):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip("may not open enough connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
    clients = []
    try:
        with running(tiny_model, tmp_path, limits=few_files) as (process, port):
            for number in range(1300):
                client = socket.create_connection(("127.0.0.1", port), timeout=5)
                clients.append(client)
                if number % 2:
                    client.sendall(b"POST /api/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n")
                if number % 4 == 3:
                    client.sendall(b"Content-Type: image/png\r\n\r\nab")
            for _ in range(3):
                answer = httpx.post(f"http://127.0.0.1:{port}/api/segment", **form(picture()), timeout=20)
                assert (ids(answer) == truth.labels).all()
            server = psutil.Process(process.pid)
            assert server.num_fds() < 1024 * 0.7
            process.send_signal(signal.SIGTERM)
            _, status, out, err = ended(process, 20)
            assert (status, out, err) == (0, "stopped\n", "")
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident(process):
    """Memory of the server and of its decoder processes, in bytes."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):
            total += each.memory_info().rss
    return total


@pytest.mark.slow
def test_files_that_ask_for_much_do_not_take_the_server(tiny_model, tmp_path, picture, truth, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "hostile"))
    from pictures import CASES

    answers, peak, done = {}, [0], threading.Event()

    def watch():
        while not done.wait(0.05):
            peak[0] = max(peak[0], resident(server))

    with running(tiny_model, tmp_path) as (process, port):
        url = f"http://127.0.0.1:{port}/api/segment"
        server = psutil.Process(process.pid)
        watcher = threading.Thread(target=watch)
        watcher.start()
        with httpx.Client(timeout=300) as client:
            for name, build in CASES.items():
                answers[name] = client.post(url, files={"image": (name, build())}).status_code
            assert (ids(client.post(url, **form(picture()))) == truth.labels).all()
        done.set()
        watcher.join()
        assert process.poll() is None
    print(answers, peak[0] / 2**20)
    assert set(answers.values()) <= {200, 413, 415, 422}
    assert peak[0] < 4 * 2**30


def test_uploads_leave_no_names_behind(tiny_model, tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(data).save(file, "PNG")
    with running(tiny_model, tmp_path) as (_, port):
        url = f"http://127.0.0.1:{port}/api"
        with httpx.Client(timeout=60) as client:
            session = client.post(f"{url}/sessions", files={"image": ("noise.png", file.getvalue())})
            assert session.status_code == 200
            assert list(tmp_path.iterdir()) == []
            assert client.post(f"{url}/sessions/{session.json()['id']}/crf", json={"iterations": 1}).status_code == 200
    assert list(tmp_path.iterdir()) == []

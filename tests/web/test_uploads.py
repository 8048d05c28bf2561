"""Uploads that are slow, lie or break off, clients that go away, and a server that ends: on real connections."""

import asyncio
import json
import socket
import struct
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from clients import failed, form, ids
from starlette.requests import Request

from atrous.web import middleware
from atrous.web.request_body import read_body
from atrous.web.service import Service

HTTP = httpx.Client()  # one for all: each new one reads this machine's certificates


@pytest.fixture(scope="module", autouse=True)
def impatient():
    """What comes after a refusal is thrown away for less long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(middleware, "DRAIN_SECONDS", 0.3)
        yield


@pytest.fixture(scope="module")
def port(make_app, served):
    """A server that takes little and does not wait long."""
    with served(make_app(max_megapixels=0.01, max_megabytes=0.1, upload_seconds=0.5, queue=3)) as (port, _):
        yield port


@pytest.fixture
def others(port, picture, truth):
    """In the end somebody else is served, and nobody is left inside."""
    yield
    url = f"http://127.0.0.1:{port}"
    assert (ids(HTTP.post(f"{url}/api/segment", **form(picture()))) == truth.labels).all()
    until(lambda: said(url, "waiting") == said(url, "running") == 0)


def said(url, what):
    return HTTP.get(f"{url}/api/health").json()[what]


def until(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("nothing happened for ten seconds")


@contextmanager
def connected(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        yield client


def head(*lines):
    return "\r\n".join(("POST /api/segment HTTP/1.1", "Host: here", "Content-Type: image/png", *lines, "", "")).encode()


def answered(client):
    """Read until the server hangs up; return the status and the error."""
    data = b""
    while part := client.recv(65536):
        data += part
        if b"}" in data:
            break
    first, _, rest = data.partition(b"\r\n")
    return int(first.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])["error"]


def sent_until_hung_up(client, part, most, pause):
    """Send a part again and again; return how many went off."""
    for count in range(most):
        try:
            client.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            return count
        time.sleep(pause)
    return most


def test_a_slow_upload_ends_and_holds_up_nobody(port, picture, truth, others):
    data = picture()
    with connected(port) as slow:
        slow.sendall(head(f"Content-Length: {len(data)}") + data[:20])
        quick = HTTP.post(f"http://127.0.0.1:{port}/api/segment", **form(data))
        assert (ids(quick) == truth.labels).all()
        assert answered(slow) == (408, "the upload took more than 0.5 s")


def test_a_trickle_does_not_win_time(port, others):
    with connected(port) as slow:
        slow.sendall(head("Transfer-Encoding: chunked"))
        begun = time.monotonic()
        sent = sent_until_hung_up(slow, b"1\r\nx\r\n", 1000, pause=0.02)
        assert 0.5 < time.monotonic() - begun < 5
        assert sent < 500


def test_a_length_that_is_too_large_to_begin_with(port, others):
    with connected(port) as client:
        client.sendall(head("Content-Length: 100000000000"))  # and not a byte of it
        assert answered(client) == (413, "the upload is larger than 0.1 MB; scale the image down first")


@pytest.mark.parametrize("length", ["-1", "many", "1, 2"])
def test_a_length_that_is_none(port, length, others):
    with connected(port) as client:
        client.sendall(head(f"Content-Length: {length}") + b"abc")
        assert client.recv(1000).split()[1] == b"400"


def test_a_length_shorter_than_the_picture(port, picture, others):
    data = picture()
    with connected(port) as client:
        client.sendall(head(f"Content-Length: {len(data) - 40}") + data)
        status, error = answered(client)
        assert status in (415, 422)
        assert "image" in error


def test_a_length_longer_than_the_picture(port, picture, others):
    data = picture()
    with connected(port) as client:
        client.sendall(head(f"Content-Length: {len(data) + 40}") + data)
        assert answered(client)[0] == 408


def test_chunks_without_end(port, others):
    chunk = b"1000\r\n" + bytes(0x1000) + b"\r\n"
    with connected(port) as client:
        client.sendall(head("Transfer-Encoding: chunked"))
        assert sent_until_hung_up(client, chunk, 100_000, pause=0.002) < 100_000


def test_chunks_beyond_the_bound_are_told_so(port, others):
    with connected(port) as client:
        client.sendall(head("Transfer-Encoding: chunked") + b"1a000\r\n" + bytes(0x1A000) + b"\r\n0\r\n\r\n")
        assert answered(client) == (413, "the upload is larger than 0.1 MB; scale the image down first")


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_client_that_goes_away_in_the_middle(port, picture, how, others):
    data = picture()
    with connected(port) as client:
        client.sendall(head(f"Content-Length: {len(data)}") + data[: len(data) // 2])
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_server_s_own_fault_is_answered_and_ends_the_connection(make_app, served, picture, monkeypatch):
    def odd(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(Service, "segment", odd)
    data = picture()
    with served(make_app()) as (port, _), connected(port) as client:
        client.sendall(head(f"Content-Length: {len(data)}") + data)
        told = b""
        while part := client.recv(65536):
            told += part
    assert told.startswith(b"HTTP/1.1 500 ")
    assert b"\r\nconnection: close\r\n" in told  # or a client's next request would be lost
    assert b"secret" not in told


@pytest.fixture
def held(monkeypatch):
    """Work that is not done before `go` is set."""
    segment, go = Service.segment, threading.Event()

    def slow(self, *arguments):
        assert go.wait(20)
        return segment(self, *arguments)

    monkeypatch.setattr(Service, "segment", slow)
    yield go
    go.set()


def test_who_hangs_up_leaves_the_queue(make_app, served, picture, truth, held):
    with served(make_app(workers=1)) as (port, _), ThreadPoolExecutor() as clients:
        url = f"http://127.0.0.1:{port}"
        patient = clients.submit(HTTP.post, f"{url}/api/segment", **form(picture()), timeout=20)
        until(lambda: said(url, "running") == 1)
        with pytest.raises(httpx.ReadTimeout):
            HTTP.post(f"{url}/api/segment", **form(picture()), timeout=httpx.Timeout(5, read=0.3))
        until(lambda: said(url, "waiting") == 0)
        held.set()
        assert (ids(patient.result()) == truth.labels).all()


def test_a_server_that_ends_answers_what_it_computes_and_refuses_the_rest(make_app, served, picture, truth, held):
    with served(make_app(workers=1)) as (port, server), ThreadPoolExecutor() as clients:
        url = f"http://127.0.0.1:{port}"

        def post():
            return clients.submit(HTTP.post, f"{url}/api/segment", **form(picture()), timeout=20)

        computed = post()
        until(lambda: said(url, "running") == 1)
        waits = post()
        until(lambda: said(url, "waiting") == 1)
        server.should_exit = True
        for refused in (waits.result(), post().result()):
            assert "the server is stopping" in failed(refused, 503)
            assert int(refused.headers["retry-after"]) == 10
        held.set()
        assert (ids(computed.result()) == truth.labels).all()


def test_a_client_that_does_not_come_back_is_disconnected(make_app, served):
    with served(make_app(header_seconds=0.3)) as (port, server), connected(port) as idle, connected(port) as half:
        half.sendall(b"GET / HTTP/1.1\r\nHost: lo")
        for client in (idle, half):
            assert client.recv(10) == b""
        with connected(port) as again:  # also after a first request
            again.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in again.recv(100)
            again.sendall(b"GET /")
            while again.recv(65536):
                pass
        until(lambda: not server.server_state.connections)


def test_a_client_that_does_not_read_is_disconnected(make_app, served, picture):
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8)
    data = picture("JPEG", noise)
    with served(make_app(header_seconds=0.5)) as (port, server), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        for _ in range(40):  # pipelined, until the answers fill the buffers
            client.sendall(b"GET /static/examples/astronaut.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: not server.server_state.connections)
        assert HTTP.get(f"http://127.0.0.1:{port}/api/health").status_code == 200
    assert data


def test_a_body_that_waits_for_its_turn_takes_no_memory():
    parts = 64 * [bytes(range(256)) * 256]
    coming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    coming.append({"type": "http.request"})

    async def receive():
        return coming.pop(0)

    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", b"image/png")]}, receive)

    async def read():
        async with read_body(request) as (files, fields):
            held, _ = tracemalloc.get_traced_memory()
            return held, files["image"].content(), fields

    tracemalloc.start()
    try:
        held, content, fields = asyncio.run(read())
    finally:
        tracemalloc.stop()
    assert (content, fields) == (b"".join(parts), {})
    assert held < 2_000_000

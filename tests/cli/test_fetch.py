import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from atrous.cli import fetch
from atrous.errors import InputError


class Server(BaseHTTPRequestHandler):
    """Serves `content` by path, and misbehaves at some paths."""

    content: dict[str, bytes]

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/moved":
            self.answer(302, Location="/photo.png")
        elif path == "/to-a-file":
            self.answer(302, Location="file:///etc/passwd")
        elif path == "/loop":
            self.answer(302, Location="/loop")
        elif path == "/cut.png":
            self.answer(200, self.content["/photo.png"][:50], {"Content-Length": "1000"})
        elif path == "/announced":
            self.answer(200, b"", {"Content-Length": str(10**12)})
        elif path == "/endless":
            self.answer(200)
            while not self.server.stopped:
                try:
                    self.wfile.write(bytes(1 << 16))
                except OSError:
                    break
        elif path == "/slow":
            self.answer(200)
            while not self.server.stopped:
                time.sleep(0.02)
                try:
                    self.wfile.write(b"x")
                except OSError:
                    break
        elif path in self.content:
            self.answer(200, self.content[path])
        else:
            self.answer(404)

    def answer(self, status, body=b"", headers=(), **more):
        self.send_response(status)
        for name, value in {**dict(headers), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def site(red_square, monkeypatch):
    """Address of a server with photo.png."""
    monkeypatch.setenv("no_proxy", "*")
    png = io.BytesIO()
    Image.fromarray(red_square).save(png, "PNG")
    Server.content = {
        "/photo.png": png.getvalue(),
        "/a/my%20c%C3%A4t.png": png.getvalue(),
        "/page": b"<!DOCTYPE html>",
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads, server.stopped = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.stopped = True
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://example.com/a/b.jpg", "b.jpg"),
        ("https://example.com/a/b.jpg?size=2#top", "b.jpg"),
        ("HTTP://example.com/a/my%20cat.jpg/", "my cat.jpg"),
        ("https://example.com", "example.com"),
        ("https://example.com/a/..", "example.com"),
        ("https://example.com/a/..%2F..%2Fx", ".._x"),
        ("https://example.com/%00%5C", "__"),
        ("https://[::1]/", "__1"),
    ],
)
def test_names_are_single_parts_of_a_path(address, name):
    assert fetch.is_web_address(address)
    assert fetch.file_name(address).lstrip("._") == name.lstrip("._")
    assert not {"/", "\\", "\0"} & set(fetch.file_name(address))
    assert not fetch.file_name(address).startswith(".")


@pytest.mark.parametrize("path", ["s3://bucket/a.jpg", "ftp://host/a.jpg", "http:/a.jpg", "a.jpg", "-"])
def test_what_is_no_web_address(path):
    assert not fetch.is_web_address(path)


def test_a_photo_at_an_address(segment, site, tmp_path):
    address = f"{site}/photo.png?size=1"
    code, out, err = segment(address)
    assert (code, err) == (0, "")
    assert out.startswith(f"{address}: red 25.0 % (")
    assert sorted(path.name for path in (tmp_path / "segmentation").iterdir()) == ["photo.overlay.jpg", "photo.png"]
    assert segment(address) == (0, "1 done before, skipped\n", "")


def test_several_addresses_redirects_and_other_scripts(segment, site, tmp_path):
    code, out, err = segment(f"{site}/moved", f"{site}/a/my c\xe4t.png", f"{site}/moved")
    assert (code, out.count("\n"), err) == (0, 2, "")
    assert {path.name for path in (tmp_path / "segmentation").glob("*.png")} == {"moved.png", "my c\xe4t.png"}


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/absent.png", "404"),
        ("/page", "web page"),
        ("/cut.png", "50 of 1,000 bytes"),
        ("/announced", "64 MB"),
        ("/to-a-file", "cannot be fetched|302"),
        ("/loop", "302"),
        ("/clip.mp4", "a video"),
    ],
)
def test_what_is_no_photo_is_one_line(segment, site, tmp_path, path, says):
    code, out, err = segment(site + path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {site}{path}: ")
    assert any(word in err for word in says.split("|"))
    assert not (tmp_path / "segmentation").exists()


def test_bytes_and_time_are_bounded(site, monkeypatch):
    monkeypatch.setattr(fetch, "MOST_BYTES", 10**6)
    with pytest.raises(InputError, match="1 MB"):
        fetch.fetch(f"{site}/endless")
    monkeypatch.setattr(fetch, "SECONDS", 0.3)
    started = time.monotonic()
    with pytest.raises(InputError, match=r"0\.3 s"):
        fetch.fetch(f"{site}/slow")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/a.jpg", "http://a:b@127.0.0.1:1/a.jpg", "http://", "http://[/a"]
)
def test_addresses_that_cannot_be_reached(address, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(InputError, match="cannot be fetched") as caught:
        fetch.fetch(address)
    assert "\n" not in str(caught.value)


def test_a_photo_on_standard_input(segment, site, tmp_path):
    png = Server.content["/photo.png"]
    code, out, err = segment("-", stdin=png)
    assert (code, err) == (0, "")
    assert out.startswith("standard input: red 25.0 %")
    assert sorted(path.name for path in (tmp_path / "segmentation").iterdir()) == ["stdin.overlay.jpg", "stdin.png"]
    for content in (b"", b"text"):
        code, out, err = segment("-", "--overwrite", stdin=content)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("error: standard input: expected")


def test_each_photo_of_a_pipe_is_segmented(segment, site, red_square, tmp_path):
    blue = io.BytesIO()
    Image.fromarray(red_square[..., ::-1]).save(blue, "PNG")
    assert "red 25.0 %" in segment("-", stdin=Server.content["/photo.png"])[1]
    code, out, err = segment("-", stdin=blue.getvalue())
    assert (code, err) == (0, "")
    assert out.startswith("standard input: blue 25.0 %")
    mask = tmp_path / "segmentation/stdin.png"
    with Image.open(mask) as ids:
        assert np.asarray(ids)[32, 48] == 2
    Image.new("L", (4, 4)).save(mask)  # of another program
    code, out, err = segment("-", stdin=blue.getvalue())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "stdin.png: exists" in err


def test_another_address_is_another_photo(segment, site):
    assert segment(f"{site}/photo.png?size=1")[0] == 0
    code, out, err = segment(f"{site}/photo.png")
    assert (code, out) == (2, "")
    assert err.startswith("error: 1 input skipped")


def test_a_mask_on_standard_output(segment, site, red_square, tmp_path):
    png = Server.content["/photo.png"]
    code, out, err = segment("--out", "-", "-", stdin=png)
    assert (code, err) == (0, "")
    with Image.open(io.BytesIO(out)) as mask:
        assert mask.mode == "P"
        assert (np.asarray(mask)[16:48, 24:72] == 1).mean() > 0.99
    code, out, err = segment("--out", "-", f"{site}/photo.png", "--cutout", "red")
    with Image.open(io.BytesIO(out)) as cut:
        assert (code, cut.mode, cut.size) == (0, "RGBA", (96, 64))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extra", [("--json",), ("--labels",), ("--format", "coco"), ("b.png",), ("absent.png",)])
def test_standard_output_takes_one_mask(segment, photo, extra):
    photo("a.png")
    photo("b.png")
    code, out, err = segment("--out", "-", "a.png", *extra)
    assert (code, out, err.count("\n")) == (2, b"" if isinstance(out, bytes) else "", 1)

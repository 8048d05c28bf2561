"""Inputs behind HTTP, as a real server gives them: Python's own, which knows no ranges, and one that does."""

import re
import tarfile
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("aiohttp")


class Whole(SimpleHTTPRequestHandler):
    """Gives files from their beginning to their end, whatever part was asked for."""

    def log_message(self, *arguments):
        pass


class Ranges(Whole):
    """Gives parts, and no list of what lies at the top."""

    def list_directory(self, path):
        if self.path != "/":
            return super().list_directory(path)
        self.send_error(403)
        return None

    def do_GET(self):
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
        if not part:
            super().do_GET()
            return
        with open(self.translate_path(self.path), "rb") as file:  # noqa: PTH123
            content = file.read()
        first, last = int(part[1]), min(int(part[2]), len(content) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Content-Length", str(last + 1 - first))
        self.end_headers()
        self.wfile.write(content[first : last + 1])


@pytest.fixture(params=[Whole, Ranges])
def served(request, photos):
    """URL of the photos, and whether parts of a file can be had."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(request.param, directory=str(photos)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", request.param is Ranges
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_folder_and_a_list(served, bulk, photos, tmp_path):
    url, _ = served
    assert bulk(f"{url}/a", tmp_path / "folder").done == 5
    assert sorted(path.name for path in (tmp_path / "folder").glob("*.png")) == [
        f"photo{i}.png" for i in range(0, 10, 2)
    ]
    (photos / "list.txt").write_text(f"{url}/a/photo0.png\n{url}/none.png\n{photos}/b/photo1.png\n")
    summary = bulk(f"{url}/list.txt", tmp_path / "listed")
    assert (summary.done, summary.failed) == (2, 1)
    assert f"{url}/none.png,no such file" in (tmp_path / "listed/errors.csv").read_text()


def test_a_tar_and_a_parquet_file(served, bulk, photos, tmp_path, expected, read_mask, monkeypatch):
    url, ranges = served
    whole = Mock(wraps=tempfile.TemporaryFile)
    monkeypatch.setattr(tempfile, "TemporaryFile", whole)
    with tarfile.open(photos / "shard.tar", "w") as tar:
        for i in range(4):
            tar.add(photos / "ab"[i % 2] / f"photo{i}.png", f"{i}.png")
    pq.write_table(tables(photos), photos / "x.parquet")
    assert bulk(f"{url}/shard.tar", tmp_path / "tar").done == 4
    assert bulk(f"{url}/x.parquet", tmp_path / "parquet").done == 3
    for mask, i in [("tar/shard/2.png", 2), ("parquet/x/000001.png", 1)]:
        assert (read_mask(tmp_path / mask) == expected(i)).all()
    assert whole.called == (not ranges)


def test_a_changed_file_is_seen(served, bulk, photos, tmp_path):
    url, _ = served
    pq.write_table(tables(photos), photos / "x.parquet")
    assert bulk(f"{url}/x.parquet", tmp_path / "out").done == 3
    assert bulk(f"{url}/x.parquet", tmp_path / "out").skipped == 3
    pq.write_table(tables(photos).slice(0, 2), photos / "x.parquet")
    with pytest.raises(ValueError, match="has changed since"):
        bulk(f"{url}/x.parquet", tmp_path / "out")


def tables(photos):
    return pa.table({"jpg": [(photos / "ab"[i % 2] / f"photo{i}.png").read_bytes() for i in range(3)]})

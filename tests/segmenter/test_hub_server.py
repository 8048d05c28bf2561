"""A model to the hub and back by huggingface_hub's own client, over HTTP, to a server of what it asks for."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("huggingface_hub", reason="needs the extra 'hub'")

COMMIT = "c" * 40
REPOSITORY = "/api/models/me/model"

ROUND_TRIP = """
import sys
import numpy as np
import atrous

model, photo = sys.argv[1:]
ours = atrous.Segmenter(model, max_side=90)
print(ours.push_to_hub("me/model"))
theirs = atrous.Segmenter.from_pretrained("me/model")
print(theirs.max_side, np.array_equal(ours(photo).labels, theirs(photo).labels))
try:
    atrous.Segmenter.from_pretrained("me/other")
except atrous.InputError as error:
    print(error)
"""


class Hub(BaseHTTPRequestHandler):
    """One repository, its files in memory."""

    files: dict[str, bytes]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        host = f"http://{self.headers['host']}"
        if self.path == "/api/repos/create":
            self.answer({"url": f"{host}/me/model", "name": "me/model", "id": "me/model"})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif self.path == f"{REPOSITORY}/preupload/main":
            asked = json.loads(body)["files"]
            self.answer({"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]})
        elif self.path == f"{REPOSITORY}/commit/main":
            lines = [json.loads(line) for line in body.splitlines()]
            sent = [line["value"] for line in lines if line["key"] == "file"]
            self.files.update({file["path"]: base64.b64decode(file["content"]) for file in sent})
            self.answer(
                {
                    "success": True,
                    "commitOid": COMMIT,
                    "commitUrl": f"{host}/me/model/commit/{COMMIT}",
                    "hookOutput": "",
                }
            )
        else:
            self.answer({"error": "not found"}, 404)

    def do_GET(self):
        name = re.fullmatch(rf"/me/model/resolve/{COMMIT}/(.+)", self.path)
        if name is not None and name[1] in self.files:
            data = self.files[name[1]]
            self.answer(data, x_repo_commit=COMMIT, etag=f'"{hashlib.sha1(data).hexdigest()}"')
        elif self.path.partition("?")[0] == f"{REPOSITORY}/revision/main":
            siblings = [{"rfilename": name} for name in self.files]
            self.answer({"id": "me/model", "sha": COMMIT, "private": False, "tags": [], "siblings": siblings})
        elif self.path.startswith(f"{REPOSITORY}/tree/{COMMIT}"):
            entries = [{"type": "file", "path": n, "size": len(d), "oid": "0" * 40} for n, d in self.files.items()]
            self.answer(entries)
        else:
            self.answer({"error": "not found"}, 404)

    do_HEAD = do_GET  # noqa: N815

    def answer(self, content, status=200, **headers):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        for name, value in {"content-type": kind, "content-length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    handler = type("OneHub", (Hub,), {"files": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.files
    server.shutdown()
    server.server_close()


def test_to_the_hub_and_back(hub, tiny_model, red_square, tmp_path):
    from PIL import Image

    url, files = hub
    Image.fromarray(red_square).save(tmp_path / "photo.png")
    own = {
        "HF_ENDPOINT": url,
        "HF_TOKEN": "hf_none",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", ROUND_TRIP, str(tiny_model), str(tmp_path / "photo.png")],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    commit, came_back, missing = done.stdout.splitlines()
    assert commit.startswith(f"{url}/me/model/")
    assert came_back == "90 True"
    assert missing.startswith("me/other: ")
    assert set(files) == {"README.md", "config.json", "model.onnx"}
    assert files["model.onnx"] == tiny_model.read_bytes()

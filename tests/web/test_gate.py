import asyncio
from pathlib import Path

import httpx
import pytest
from test_api import Client, failed, form


@pytest.fixture(scope="module")
def client(make_app):
    return Client(make_app(max_megabytes=0.1, origins=("https://friend.example",)))


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=pyproject.toml",
        "/gradio_api/file=../../../etc/passwd",
        "/gradio_api/file=http://example.com/",
        "/gradio_api/file=%2Fetc%2Fpasswd",
        "/gradio_api/file=/%00",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://example.com/",
        "/gradio_api/info",
        "/gradio_api/openapi.json",
        "/gradio_api/runs",
        "/monitoring",
        "/docs",
        "/openapi.json",
        "/assets/../../../../../../../../etc/passwd",
        "/assets/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/routes.py",
        "/custom_component/1/client/component/x",
    ],
)
def test_closed(client, path):
    answer = client.get(path)
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text
    assert "import " not in answer.text


@pytest.mark.parametrize(
    "path", ["/gradio_api/run/predict", "/gradio_api/call/segment", "/gradio_api/api/predict", "/"]
)
def test_functions_are_called_by_the_queue_only(client, path):
    failed(client.post(path, json={"data": []}), 404)


@pytest.mark.parametrize("place", ["/etc/passwd", "http://example.com/a.png", "pyproject.toml", "\x00", {"path": 1}])
def test_files_that_were_not_uploaded(client, place):
    body = {"data": [{"path": place, "meta": {"_type": "gradio.FileData"}}], "fn_index": 0, "session_hash": "s"}
    assert failed(client.post("/gradio_api/queue/join", json=body), 403) == "no such file here"


def test_data_urls_and_odd_events(client):
    body = {"data": [{"path": None, "url": "data:image/png;base64,AAAA"}]}
    failed(client.post("/gradio_api/queue/join", json=body), 403)
    failed(client.post("/gradio_api/queue/join", content=b"{"), 422)
    failed(client.post("/gradio_api/queue/join", content=b"[" * 100_000), 422)
    failed(client.post("/gradio_api/queue/join", json={"data": ["x" * 300_000]}), 413)


def test_uploads_are_bounded_and_land_in_the_temporary_folder(client):
    answer = client.post("/gradio_api/upload", files={"files": ("../../odd.png", b"abc")})
    (place,) = answer.json()
    assert Path(place).read_bytes() == b"abc"
    assert Path(place).is_relative_to(client.app.folder)
    assert client.get(f"/gradio_api/file={place}").content == b"abc"
    assert client.post("/gradio_api/upload", files={"files": ("a.png", bytes(300_000))}).status_code == 413


def test_pages_of_others_may_not_post(client, picture):
    def post(origin):
        return client.post(headers={"origin": origin}, **form(picture()))

    assert "--origin" in failed(post("https://elsewhere.example"), 403)
    for odd in ("null", "http://[", "http://here@elsewhere.example", ""):
        failed(post(odd), 403)
    assert post("http://here").status_code == 200
    assert post("https://friend.example").status_code == 200
    assert "access-control-allow-origin" not in post("http://here").headers


def test_the_own_page_behind_a_proxy_that_names_itself(client, picture):
    def post(**headers):
        return client.post(headers={name.replace("_", "-"): text for name, text in headers.items()}, **form(picture()))

    assert post(origin="https://my.site:8443", x_forwarded_host="my.site:8443").status_code == 200
    assert post(origin="https://my.site", x_forwarded_host="my.site, inner").status_code == 200
    failed(post(origin="https://elsewhere.example", x_forwarded_host="my.site"), 403)


def test_a_proxy_may_leave_its_path_in_or_take_it_off(make_app, picture, truth):
    app = make_app(root_path="/atrous")

    async def get(path):
        # As uvicorn has it: its own path before whatever it was asked for.
        transport = httpx.ASGITransport(app, root_path="/atrous")
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(f"/atrous{path}")

    for path in ("/api/health", "/", "/config", "/theme.css"):
        assert [asyncio.run(get(before + path)).status_code for before in ("", "/atrous")] == [200, 200]
    bare = asyncio.run(get("/atrous"))
    assert (bare.status_code, bare.headers["location"]) == (307, "/atrous/")
    failed(asyncio.run(get("/atrousapi/health")), 404)
    failed(asyncio.run(get("/atrous/gradio_api/file=/etc/passwd")), 404)


def test_websockets_are_refused(client):
    sent = []

    async def run():
        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message["type"])

        await client.app({"type": "websocket", "path": "/", "headers": []}, receive, send)

    asyncio.run(run())
    assert sent == ["websocket.close"]


def test_pages_of_a_named_origin_may_read_the_answers(client, picture):
    friend, other = ({"origin": origin} for origin in ("https://friend.example", "https://elsewhere.example"))
    answer = client.post(headers=friend, **form(picture()))
    assert answer.headers["access-control-allow-origin"] == "https://friend.example"
    assert "Origin" in answer.headers["vary"]
    # A browser asks so before it posts a picture as the body itself.
    (asked,) = client.all([("OPTIONS", "/api/segment", {"headers": friend})])
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "https://friend.example"
    assert asked.headers["access-control-allow-methods"] == "POST"
    assert asked.headers["access-control-allow-headers"] == "Content-Type"
    for path in ("/api/segment", "/api/health"):
        (asked,) = client.all([("OPTIONS", path, {"headers": other})])
        assert asked.status_code == 204
        assert "access-control-allow-origin" not in asked.headers
    # Of a refusal too, or a script would not know why.
    assert "access-control-allow-origin" in client.post(headers=friend, **form(b"junk")).headers


def test_the_page_says_what_it_may_load(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "fonts.googleapis" not in answer.text


def test_the_folder_goes_with_the_server(tiny_model, tmp_path):
    import tempfile

    from atrous.segmenter import Segmenter
    from atrous.web.files import confined
    from atrous.web.server import application
    from atrous.web.settings import ServerSettings

    before = tempfile.gettempdir()
    with confined() as folder, application(Segmenter(tiny_model), ServerSettings(), folder) as app:
        assert app.folder == folder
        assert (folder / "examples" / "cat.jpg").is_file()
        assert tempfile.gettempdir() == str(folder)
    assert not folder.exists()
    assert tempfile.gettempdir() == before

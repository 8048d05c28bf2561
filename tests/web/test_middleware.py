import asyncio

import httpx
import pytest
from clients import Client, failed, form, ids

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "path",
    [
        "/static/../config.py",
        "/static/..%2fconfig.py",
        "/static/%2e%2e/config.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/examples",
        "/swagger/../core.py",
        "/openapi.json",
        "/redoc",
        "/api",
        "/api/docs/",
    ],
)
def test_closed(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "import " not in answer.text


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


def test_a_proxy_may_leave_its_path_in_or_take_it_off(client):
    app = client.app

    async def get(path):
        # As uvicorn has it: its own path before whatever it was asked for.
        transport = httpx.ASGITransport(app, root_path="/atrous")
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(f"/atrous{path}")

    for path in ("/api/health", "/", "/docs", "/static/main.js", "/api/openapi.json"):
        assert [asyncio.run(get(before + path)).status_code for before in ("", "/atrous")] == [200, 200]
    bare = asyncio.run(get("/atrous"))
    assert (bare.status_code, bare.headers["location"]) == (307, "/atrous/")
    failed(asyncio.run(get("/atrousapi/health")), 404)
    failed(asyncio.run(get("/atrous/nothing")), 404)


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
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    # Browsers send this before a post of an image as the body itself.
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    (allowed,) = client.all([("OPTIONS", "/api/segment", {"headers": friend | asks})])
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://friend.example"
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "Content-Type" in allowed.headers["access-control-allow-headers"]
    (refused,) = client.all([("OPTIONS", "/api/segment", {"headers": other | asks})])
    assert refused.status_code == 400
    for answer in (refused, client.get("/api/health", headers=other)):
        assert "access-control-allow-origin" not in answer.headers
    # Of an error too, or a script would not see why.
    assert "access-control-allow-origin" in client.post(headers=friend, **form(b"junk")).headers
    assert "access-control-allow-origin" in client.post(headers=friend, **form(bytes(200_000))).headers


@pytest.mark.parametrize("host", ["localhost", "localhost:7860", "127.0.0.1", "[::1]:7860", "LOCALHOST", "my.site"])
def test_hosts_of_a_loopback_server(make_app, host):
    client = Client(make_app(loopback=True, origins=("https://my.site",)))
    assert client.get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", "192.0.2.1"]
)
def test_other_hosts_are_refused(make_app, client, host):
    loopback = Client(make_app(loopback=True))
    for path in ("/", "/api/health", "/static/main.js"):
        assert "Host" in failed(loopback.get(path, headers={"host": host}), 403)
    assert client.get("/api/health", headers={"host": host}).status_code == 200


def test_pages_run_no_scripts_but_their_own(client):
    for path in ("/", "/docs", "/static/main.js", "/api/health", "/nothing"):
        answer = client.get(path)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == "'self'"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "'unsafe-inline'" not in client.get("/").headers["content-security-policy"]


def test_json_is_bounded(client):
    assert "larger than 0.1 MB" in failed(client.post("/api/sessions/x/crf", content=bytes(200_000), headers=JSON), 413)


def test_all_uploads_together_are_bounded(make_app, picture, truth):
    client = Client(make_app(upload_megabytes=0.02))
    arrived, go = [], asyncio.Event()

    async def body():
        arrived.append(1)
        yield bytes(15_000)
        await go.wait()

    async def run():
        transport = httpx.ASGITransport(client.app)
        kind = {"content-type": "image/png"}
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            first = asyncio.create_task(http.post("/api/segment", content=body(), headers=kind))
            while not arrived:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            second = await http.post("/api/segment", content=bytes(15_000), headers=kind)
            small = await http.post("/api/segment", **form(picture()))
            go.set()
            return await first, second, small, await http.post("/api/segment", **form(picture()))

    first, second, small, last = asyncio.run(run())
    assert "other uploads are waiting" in failed(second, 503)
    assert int(second.headers["retry-after"]) == 5
    failed(first, 415)
    for answer in (small, last):
        assert (ids(answer) == truth.labels).all()

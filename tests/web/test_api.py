import asyncio
import io
import threading
import tracemalloc

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.requests import Request

from atrous.errors import ComputeError
from atrous.web.api import _read_body
from atrous.web.run_lengths import decode
from atrous.web.studio import Studio


class Client:
    """Calls an application in this process, one request or several at a time."""

    def __init__(self, app):
        self.app = app

    def post(self, url="/api/segment", **request):
        return self.all([("POST", url, request)])[0]

    def get(self, url, **request):
        return self.all([("GET", url, request)])[0]

    def all(self, requests):
        async def run():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                return await asyncio.gather(*(client.request(m, url, **request) for m, url, request in requests))

        return asyncio.run(run())


@pytest.fixture(scope="module")
def client(make_app):
    return Client(make_app(max_megapixels=0.01, max_megabytes=0.1))


def form(data, **fields):
    return {"files": {"image": ("photo.png", data)}, "data": fields}


def failed(answer, status):
    assert answer.status_code == status, answer.text
    (message,) = answer.json().values()
    assert list(answer.json()) == ["error"]
    assert "\n" not in message
    assert "Traceback" not in message
    return message


def ids(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM"])
def test_a_picture_of_any_kind_to_its_labels(client, picture, truth, kind):
    labels = ids(client.post(**form(picture(kind))))
    assert (labels != truth.labels).mean() < 0.02


def test_the_body_itself_may_be_the_picture(client, picture, truth):
    for kind in ("image/png", "application/octet-stream"):
        assert np.array_equal(ids(client.post(content=picture(), headers={"content-type": kind})), truth.labels)


def test_a_phone_held_upright(client, picture, red_square, truth):
    exif = Image.Exif()
    exif[274] = 6  # turn it by 90 degrees
    lying = np.ascontiguousarray(np.rot90(red_square))
    assert np.array_equal(ids(client.post(**form(picture(image=lying, exif=exif)))), truth.labels)


def test_json_tells_the_classes_and_their_masks(client, picture, truth):
    answer = client.post(**form(picture(), format="json"))
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert (said["width"], said["height"], said["model"]) == (96, 64, "tiny.onnx")
    assert [(c["id"], c["name"], c["color"], c["pixels"]) for c in said["classes"]] == [
        (0, "background", "#000000", 4608),
        (1, "red", "#800000", 1536),
    ]
    assert said["classes"][1]["share"] == 0.25
    assert said["crf"]["sxy"] == 60
    for found in said["classes"]:
        mask = decode(found["mask"]["counts"], found["mask"]["size"])
        assert np.array_equal(mask, truth.labels == found["id"])


def test_overlay_is_a_picture_of_the_same_size(client, picture):
    answer = client.post(**form(picture(), format="overlay"))
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (96, 64)


def test_parameters_in_the_query_or_in_the_form(client, picture):
    by_form = client.post(**form(picture(), format="json", weight="2.5", iterations="3", normalization="symmetric"))
    by_query = client.post(
        "/api/segment?format=json&weight=2.5&iterations=3&normalization=symmetric", **form(picture())
    )
    used = {"weight": 2.5, "sxy": 60, "srgb": 5, "spatial_weight": 3, "spatial_sxy": 3}
    for answer in (by_form, by_query):
        assert answer.json()["crf"] == {**used, "iterations": 3, "normalization": "symmetric"}
    assert client.post(**form(picture(), format="json", crf="false")).json()["crf"] is None


def test_the_crf_changes_the_labels(client, picture):
    assert not np.array_equal(ids(client.post(**form(picture(), crf="false"))), ids(client.post(**form(picture()))))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"weight": "many"}, "weight: input should be a valid number"),
        ({"weight": "nan"}, "weight: input should be a finite number"),
        ({"sxy": "0"}, "sxy: input should be greater than or equal to 1"),
        ({"iterations": "1.5"}, "iterations"),
        ({"normalization": "odd"}, "normalization"),
        ({"format": "gif"}, "format"),
        ({"color": "red"}, "color: no such parameter; expected one of weight"),
    ],
)
def test_parameters_that_cannot_be_used(client, picture, fields, says):
    assert says in failed(client.post(**form(picture(), **fields)), 422)
    assert says in failed(client.post("/api/segment", params=fields, **form(picture())), 422)


def test_a_parameter_given_twice(client, picture):
    assert "give it once" in failed(client.post("/api/segment?sxy=5", **form(picture(), sxy="6")), 422)


def test_what_is_no_picture(client, picture):
    assert "photo.png: expected a JPEG, PNG" in failed(client.post(**form(b"text")), 415)
    assert "photo.png: expected an image, got an empty file" in failed(client.post(**form(b"")), 415)
    assert "%!PS" not in failed(client.post(**form(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")), 415)
    assert "expected a form" in failed(client.post(content=b"{}", headers={"content-type": "application/json"}), 415)
    assert "image: missing" in failed(client.post(files={"photo": ("photo.png", picture())}), 422)
    assert "no content type" in failed(client.post(), 415)


def test_a_picture_cut_short(client, picture):
    data = picture("JPEG", quality=95)
    assert "photo.png: damaged or cut short" in failed(client.post(**form(data[:-100])), 422)
    assert "photo.png" in failed(client.post(**form(data[:300])), 422)


def test_a_form_cut_short(client):
    for body in (b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n", b"odd"):
        answer = client.post(content=body, headers={"content-type": "multipart/form-data; boundary=x"})
        assert answer.status_code in (400, 422)
    assert client.post(content=b"odd", headers={"content-type": "multipart/form-data"}).status_code == 400


def test_too_many_pixels_are_told_by_the_header(client):
    # A file of 30 kB that would be 27 GB.
    bomb = io.BytesIO()
    Image.new("1", (12000, 8000)).save(bomb, "PNG")
    assert "at most 0.01 million pixels, got" in failed(client.post(**form(bomb.getvalue())), 413)


@pytest.mark.parametrize("known", [True, False])
def test_too_many_bytes(client, known):
    data = bytes(300_000)

    async def stream():
        for start in range(0, len(data), 10_000):
            sent.append(start)
            yield data[start : start + 10_000]

    sent = []
    content = data if known else stream()
    answer = client.post(content=content, headers={"content-type": "image/png"})
    assert "larger than 0.1 MB" in failed(answer, 413)
    assert "larger than 0.1 MB" in failed(client.post(**form(data)), 413)


def test_a_body_that_waits_for_its_turn_takes_no_memory():
    parts = 64 * [bytes(range(256)) * 256]
    coming = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    coming.append({"type": "http.request"})

    async def receive():
        return coming.pop(0)

    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", b"image/png")]}, receive)
    tracemalloc.start()
    try:
        file, _, _ = asyncio.run(_read_body(request, 10_000_000))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    with file:
        assert file.read() == b"".join(parts)
    assert held < 2_000_000


def test_sides_too_long_for_an_overlay(make_app, picture):
    strip = picture(image=np.full((1, 66_000, 3), 128, np.uint8))
    assert "at most 65500 pixels, got 66000x1" in failed(Client(make_app()).post(**form(strip)), 413)


def test_a_full_queue(make_app, picture, monkeypatch, truth):
    client = Client(make_app(queue=1, workers=1))
    segment, go = Studio.segment, threading.Event()

    def slow(self, *arguments):
        assert go.wait(10)
        return segment(self, *arguments)

    monkeypatch.setattr(Studio, "segment", slow)

    async def run():
        transport = httpx.ASGITransport(client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            waiting = [asyncio.create_task(http.post("/api/segment", **form(picture()))) for _ in range(2)]
            while (await http.get("/api/health")).json()["waiting"] < 1:
                await asyncio.sleep(0.01)
            refused = await http.post("/api/segment", **form(picture()))
            go.set()
            return refused, [await each for each in waiting], await http.get("/api/health")

    refused, served, health = asyncio.run(run())
    assert "ask again" in failed(refused, 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert all(np.array_equal(ids(answer), truth.labels) for answer in served)
    assert (health.json()["waiting"], health.json()["running"]) == (0, 0)


def test_who_fails_harms_no_other(make_app, picture, monkeypatch, truth):
    client = Client(make_app())
    segment = Studio.segment

    def odd(self, image, parameters):
        if parameters.weight == 13:
            raise RuntimeError("secret")
        if parameters.weight == 14:
            raise MemoryError
        return segment(self, image, parameters)

    monkeypatch.setattr(Studio, "segment", odd)
    requests = [("POST", "/api/segment", form(picture(), weight=w)) for w in ("4", "13", "14", "4")]
    with pytest.raises(RuntimeError, match="secret"):  # httpx passes on what a server would only log
        client.all(requests)
    good, large, better = client.all([requests[0], requests[2], requests[3]])
    assert "not enough memory" in failed(large, 413)
    assert np.array_equal(ids(good), truth.labels)
    assert np.array_equal(ids(better), truth.labels)


def test_health(client):
    said = client.get("/api/health").json()
    assert said["status"] == "ok"
    assert said["classes"] == ["background", "red", "blue"]
    assert (said["waiting"], said["max_megapixels"]) == (0, 0.01)
    (asked,) = client.all([("HEAD", "/api/health", {})])  # as programs that watch servers ask
    assert (asked.status_code, asked.headers["content-type"]) == (200, "application/json")
    assert failed(client.post("/api/health"), 405) == "POST: not here; expected GET or HEAD"


def test_addresses_and_methods_that_are_not_there(client):
    assert "/api/segment" in failed(client.get("/api/segments"), 404)
    answer = client.get("/api/segment")
    assert "expected POST" in failed(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_the_description_needs_nothing_from_elsewhere(client):
    page = client.get("/api/docs").text
    assert "<script" not in page
    assert "<link" not in page
    assert "spatial_weight" in page
    assert "decode(mask)" in page
    assert "photo.jpg http://here/api/segment" in page  # where this very server is
    schema = client.get("/api/openapi.json").json()
    assert set(schema["paths"]) == {"/api/segment", "/api/health"}
    assert {"Found", "RunLengths", "Failure", "Health"} <= set(schema["components"]["schemas"])


def test_the_description_decodes(client, picture, truth):
    page = client.get("/api/docs").text
    import html
    import re

    code = html.unescape(re.search(r"<pre>(import numpy.*?)</pre>", page, re.DOTALL)[1])
    space = {}
    exec(code, space)
    found = client.post(**form(picture(), format="json")).json()["classes"][1]
    assert np.array_equal(space["decode"](found["mask"]), truth.labels == 1)


def test_a_network_that_fails_is_no_fault_of_the_request(client, picture, monkeypatch):
    def full(*_):
        raise ComputeError("the network failed on 20x30 pixels, on cuda (out of memory); try a smaller max_side")

    monkeypatch.setattr(Studio, "segment", full)
    assert failed(client.post(**form(picture())), 503).startswith("the network failed on 20x30 pixels")

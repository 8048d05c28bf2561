import asyncio
import io
import json
import threading

import httpx
import numpy as np
import pytest
from clients import Client, failed, form, ids, labels_of, mask_of, runs_of
from PIL import Image

from atrous.errors import ComputeError
from atrous.labelmap.png import label_png
from atrous.web.service import Service


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM"])
def test_a_picture_of_any_kind_to_its_labels(client, picture, truth, kind):
    labels = ids(client.post(**form(picture(kind))))
    assert (labels != truth.labels).mean() < 0.02


def test_the_form_s_file_may_be_called_file(client, picture, truth):
    assert np.array_equal(ids(client.post(files={"file": ("photo.png", picture())})), truth.labels)
    both = {"file": ("a.png", picture()), "image": ("b.png", picture())}
    assert "expected once, got twice" in failed(client.post(files=both), 422)


# As `curl --data-binary` sends a file, and as libraries do that name no type.
@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "application/x-www-form-urlencoded", None])
def test_the_body_itself_may_be_the_picture(client, picture, truth, kind):
    headers = {} if kind is None else {"content-type": kind}
    assert np.array_equal(ids(client.post(content=picture(), headers=headers)), truth.labels)


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
        assert np.array_equal(mask_of(found["mask"]), truth.labels == found["id"])


def test_a_cutout_is_transparent_outside_of_the_objects(client, picture, truth):
    answer = client.post(**form(picture(), format="cutout"))
    assert answer.headers["content-type"] == "image/png"
    alpha = np.asarray(Image.open(io.BytesIO(answer.content)).getchannel("A"))
    assert (alpha > 127).mean() == pytest.approx((truth.labels > 0).mean(), abs=0.01)
    assert alpha[0, 0] == 0


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
    assert "photo: unknown file; expected image" in failed(client.post(files={"photo": ("photo.png", picture())}), 422)
    assert "image: missing" in failed(client.post(files={"mask": ("mask.png", picture())}), 422)
    assert "an empty file" in failed(client.post(), 415)


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


def test_sides_too_long_for_an_overlay(make_app, picture):
    strip = picture(image=np.full((1, 66_000, 3), 128, np.uint8))
    assert "at most 65500 pixels, got 66000x1" in failed(Client(make_app()).post(**form(strip)), 413)


def test_a_full_queue(make_app, picture, monkeypatch, truth):
    client = Client(make_app(queue=1, workers=1))
    segment, go = Service.segment, threading.Event()

    def slow(self, *arguments):
        assert go.wait(10)
        return segment(self, *arguments)

    monkeypatch.setattr(Service, "segment", slow)

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
    segment = Service.segment

    def odd(self, image, parameters):
        if parameters.weight == 13:
            raise RuntimeError("secret")
        if parameters.weight == 14:
            raise MemoryError
        return segment(self, image, parameters)

    monkeypatch.setattr(Service, "segment", odd)
    requests = [("POST", "/api/segment", form(picture(), weight=w)) for w in ("4", "13", "14", "4")]
    with pytest.raises(RuntimeError, match="secret"):  # httpx passes on what a server would only log
        client.all(requests)
    good, large, better = client.all([requests[0], requests[2], requests[3]])
    assert "not enough memory" in failed(large, 413)
    assert np.array_equal(ids(good), truth.labels)
    assert np.array_equal(ids(better), truth.labels)


def test_health(client):
    said = client.get("/api/health").json()
    assert said["titles"] == said["classes"] == ["background", "red", "blue"]
    assert said["status"] == "ok"
    assert said["classes"] == ["background", "red", "blue"]
    assert (said["waiting"], said["max_megapixels"]) == (0, 0.01)
    (asked,) = client.all([("HEAD", "/api/health", {})])  # as programs that watch servers ask
    assert (asked.status_code, asked.headers["content-type"]) == (200, "application/json")
    assert said["presets"]["deeplab-largefov"]["sxy"] == 121
    assert failed(client.post("/api/health"), 405) == "POST: not here; expected GET"


def test_addresses_and_methods_that_are_not_there(client):
    assert "/api/segment" in failed(client.get("/api/segments"), 404)
    answer = client.get("/api/segment")
    assert failed(answer, 405) == "GET: not here; expected POST"
    assert answer.headers["allow"] == "POST"


def test_a_network_that_fails_is_no_fault_of_the_request(client, picture, monkeypatch):
    def full(*_):
        raise ComputeError("the network failed on 20x30 pixels, on cuda (out of memory); try a smaller max_side")

    monkeypatch.setattr(Service, "segment", full)
    assert failed(client.post(**form(picture())), 503).startswith("the network failed on 20x30 pixels")


def rough_mask():
    labels = np.full((64, 96), 255, np.uint8)
    labels[20:44, 30:66] = 1
    labels[:8] = labels[-8:] = 0
    return labels


def png_of(labels):
    return label_png(labels)


def npy_of(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def given(picture, kind):
    """A form with the photo and what is known of it: the red square, roughly."""
    rough = rough_mask()
    image = ("photo.png", picture())
    if kind == "mask":
        return {"files": {"image": image, "mask": ("rough.png", png_of(rough))}}
    if kind == "strokes":
        return {"files": {"image": image}, "data": {"strokes": json.dumps(runs_of(rough))}}
    planes = np.full((2, 64, 96), 0.5, np.float32)
    planes[0][rough == 0] = planes[1][rough == 1] = 0.9
    planes[1][rough == 0] = planes[0][rough == 1] = 0.1
    return {"files": {"file": image, "probabilities": ("planes.npy", npy_of(planes))}}


@pytest.mark.parametrize("kind", ["mask", "strokes", "probabilities"])
def test_refine(client, picture, truth, kind):
    assert np.array_equal(ids(client.post("/api/refine", **given(picture, kind))), truth.labels)
    answer = client.post("/api/refine?format=json&weight=3", **given(picture, kind)).json()
    assert (answer["crf"]["weight"], answer["crf"]["sxy"]) == (3, 60)
    assert [c["pixels"] for c in answer["classes"]] == [4608, 1536]
    assert answer["classes"][1]["name"] == "foreground"


def test_refine_reads_masks_as_other_programs_write_them(client, picture, truth):
    def refined(mask):
        file = io.BytesIO()
        Image.fromarray(mask).save(file, "PNG")
        files = {"image": ("photo.png", picture()), "mask": ("rough.png", file.getvalue())}
        return client.post("/api/refine", files=files)

    binary = np.zeros((64, 96), np.uint8)
    binary[18:46, 30:66] = 1
    expected = ids(refined(binary))
    assert np.array_equal(expected, truth.labels)
    assert np.array_equal(ids(refined(binary * 255)), expected)
    matte = np.where(binary, 210, 40).astype(np.uint8)
    matte.ravel()[:70] = range(70)  # more values than a mask has labels
    assert np.array_equal(ids(refined(matte)), expected)


@pytest.mark.parametrize(
    ("files", "fields", "status", "says"),
    [
        ({}, {}, 422, "mask: missing"),
        ({"mask": b"text"}, {}, 415, "rough: expected a PNG"),
        ({"mask": png_of(np.full((64, 96), 255, np.uint8))}, {}, 422, "rough: expected at least two labels"),
        ({"mask": png_of(np.zeros((64, 95), np.uint8))}, {}, 422, "rough: expected the image's size, 96x64, got 95x64"),
        ({"mask": png_of(np.zeros((640, 960), np.uint8))}, {}, 413, "rough: expected at most 0.01 million pixels"),
        ({"mask": png_of(rough_mask())}, {"confidence": "0.3"}, 422, "confidence 0.3: expected above 0.5"),
        ({"mask": png_of(rough_mask())}, {"crf": "false"}, 422, "crf: expected true"),
        ({"mask": b"", "probabilities": b""}, {}, 422, "mask and probabilities: given together"),
        ({"mask": b""}, {"strokes": json.dumps(runs_of(np.zeros((1, 1), np.uint8)))}, 422, "mask and strokes: given"),
        ({"probabilities": npy_of(np.zeros((2, 9, 9), np.float32))}, {}, 422, "rough: expected shape (C, 64, 96)"),
        ({"probabilities": npy_of(np.array([{}]))}, {}, 422, "rough: expected an array saved by numpy.save"),
        ({"probabilities": npy_of(np.zeros(1 << 14))[:200]}, {}, 422, "rough: expected an array saved by numpy.save"),
        ({}, {"strokes": "["}, 422, "strokes: request: expected JSON"),
        ({}, {"strokes": json.dumps({"size": [64, 96], "labels": [0], "counts": [3]})}, 422, "6144 in all"),
        ({}, {"strokes": json.dumps({"size": [-64, -96], "labels": [0], "counts": [6144]})}, 422, "got -96x-64"),
        ({}, {"strokes": json.dumps({"size": [64, 96], "labels": [300], "counts": [6144]})}, 422, "0 to 255"),
        ({}, {"strokes": json.dumps({"size": [9**9, 9**9], "labels": [3], "counts": [9**18]})}, 422, "10000 pixels"),
    ],
)
def test_what_cannot_be_refined(client, picture, files, fields, status, says):
    files = {name: ("rough", data) for name, data in files.items()}
    answer = client.post("/api/refine", files={"image": ("photo.png", picture()), **files}, data=fields)
    assert says in failed(answer, status)


def opened(client, **request):
    answer = client.post("/api/sessions", **request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_session_runs_the_crf_alone(client, picture, truth, monkeypatch):
    session = opened(client, **form(picture()))
    assert (session["width"], session["height"], session["model"]) == (96, 64, "tiny.onnx")
    assert session["classes"][1] == {"name": "red", "title": "red", "color": "#800000", "overlay": "#800000"}
    assert session["crf"]["sxy"] == 60
    before = labels_of(session["before"])
    assert np.array_equal(before, ids(client.post(**form(picture(), crf="false"))))

    monkeypatch.setattr(type(client.app.service.segmenter.engine), "scores", lambda *_: pytest.fail("the network ran"))
    url = f"/api/sessions/{session['id']}"
    after = client.post(f"{url}/crf", json={}).json()
    assert np.array_equal(labels_of(after["after"]), truth.labels)
    assert after["reduction"] == 1
    nothing = client.post(f"{url}/crf", json={"iterations": 0}).json()
    assert np.array_equal(labels_of(nothing["after"]), before)


def test_strokes_of_a_session(client, picture, truth):
    session = opened(client, **form(picture()))
    url = f"/api/sessions/{session['id']}/crf"
    labels = np.full((64, 96), 255, np.uint8)
    labels[30:34, 30:66] = 2
    both = client.post(url, json={"strokes": runs_of(labels)}).json()
    assert np.array_equal(labels_of(both["after"]), 2 * truth.labels)  # the square takes the stroke's class
    assert "two labels" in failed(client.post(url, json={"strokes": runs_of(labels), "use_scores": False}), 422)
    labels[2:6] = 1
    alone = client.post(url, json={"strokes": runs_of(labels), "use_scores": False, "confidence": 0.8}).json()
    assert np.array_equal(labels_of(alone["after"]), 1 + truth.labels)
    assert "strokes: expected labels from 0 to 255" in failed(
        client.post(url, json={"strokes": {"size": [1, 1], "labels": [-1], "counts": [1]}}), 422
    )


@pytest.mark.parametrize("kind", ["mask", "strokes", "probabilities"])
def test_a_session_of_something_given(client, picture, truth, kind):
    session = opened(client, **given(picture, kind))
    before = labels_of(session["before"])
    assert (before[rough_mask() == 1] == 1).all()
    url = f"/api/sessions/{session['id']}/crf"
    after = client.post(url, json={}).json()
    assert np.array_equal(labels_of(after["after"]), truth.labels)
    labels = np.full((64, 96), 255, np.uint8)
    labels[28:38, 28:68] = 7
    drawn = client.post(url, json={"strokes": runs_of(labels)}).json()
    assert np.array_equal(labels_of(drawn["after"]), 7 * truth.labels)


@pytest.mark.parametrize("kind", ["network", "mask", "strokes"])
def test_a_preview_is_smaller(make_app, picture, truth, kind):
    client = Client(make_app(max_side=48))
    session = opened(client, **(form(picture()) if kind == "network" else given(picture, kind)))
    url = f"/api/sessions/{session['id']}/crf"
    for size in (48, 16):  # the network's at least
        preview = labels_of(client.post(url, json={"max_side": size}).json()["after"])
        assert preview.shape == (32, 48)
        assert (preview != truth.labels[::2, ::2]).mean() < 0.07
    drawn = client.post(url, json={"max_side": 48, "strokes": runs_of(2 * rough_mask().clip(0, 1))}).json()
    assert set(drawn["after"]["labels"]) == {0, 2}


def test_sessions_end(client, picture):
    before = client.get("/api/health").json()["sessions"]
    urls = [f"/api/sessions/{opened(client, **form(picture()))['id']}" for _ in range(2)]
    assert client.get("/api/health").json()["sessions"] == before + 2
    assert client.get(urls[0]).status_code == 204
    assert client.all([("DELETE", urls[0], {})])[0].status_code == 204
    assert client.post(f"{urls[1]}/close").status_code == 204
    for url in urls:
        assert "send the image again" in failed(client.get(url), 404)
        failed(client.post(f"{url}/crf", json={}), 404)
    assert client.get("/api/health").json()["sessions"] == before


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"sxy": 0}, "sxy: input should be greater"),
        ({"weight": "many"}, "weight: input should be a valid number"),
        ({"max_side": 1}, "max_side: input should be greater"),
        ({"color": 1}, "color: no such parameter"),
        ({"strokes": {"size": [1], "labels": [0], "counts": [1]}}, "field required"),
        ([], "input should be"),
    ],
)
def test_parameters_of_a_session_that_cannot_be_used(client, picture, body, says):
    url = f"/api/sessions/{opened(client, **form(picture()))['id']}/crf"
    assert says in failed(client.post(url, json=body), 422)
    assert "JSON" in failed(client.post(url, content=b"{", headers={"content-type": "application/json"}), 422)

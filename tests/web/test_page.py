"""The page in a real browser."""

import gzip
import io
import json
import shutil

import numpy as np
import pytest
from clients import mask_of
from PIL import Image

from atrous.labelmap import write_labels
from atrous.web.server import STATIC

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def app(make_app):
    return make_app(max_megapixels=0.05)


@pytest.fixture(scope="module")
def url(app, served):
    with served(app) as (port, _):
        yield f"http://localhost:{port}"


@pytest.fixture(scope="module")
def browser():
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, url):
    """Opens the page in a window of a size; in the end, nothing may have gone wrong or elsewhere."""
    contexts, wrong = [], []

    def opened(size, *, errors=False, **options):
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        own = (url, "data:", "blob:")
        page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(own) else None)
        if not errors:
            page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
            page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        page.locator("html[data-ready]").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def give(page, data, name="my photo.png"):
    page.locator("#files").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})


def settled(page):
    """Wait until nothing is computed."""
    page.locator("[data-save=mask]:enabled").wait_for()
    page.locator("#busy").wait_for(state="hidden")


def legend(page):
    return [row.split() for row in page.locator("#legend").inner_text().splitlines()]


def saved(page, kind):
    with page.expect_download() as waiting:
        page.locator(f"[data-save={kind}]").click()
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


def image_of(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def stroke(page, *points):
    """Draw through points of the photo, whose pixels are given."""
    page.locator("#canvas").scroll_into_view_if_needed()
    box = page.locator("#canvas").bounding_box()
    scale = min(box["width"] / 96, box["height"] / 64)
    left, top = (box["width"] - 96 * scale) / 2, (box["height"] - 64 * scale) / 2
    places = [(box["x"] + left + x * scale, box["y"] + top + y * scale) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def test_the_page_is_light():
    content = b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()) if path.is_file())
    assert len(gzip.compress(content)) < 60_000


@pytest.mark.parametrize("size", list(SIZES))
def test_choose_a_photo_and_save_everything(open_page, picture, red_square, truth, size):
    page = open_page(size)
    give(page, picture())
    settled(page)
    assert legend(page) == [["background", "74.3", "%", "75.0", "%"], ["red", "25.7", "%", "25.0", "%"]]
    assert "96 \u00d7 64 pixels" in page.locator("#status").inner_text()

    name, content = saved(page, "mask")
    assert name == "my_photo.png"
    mask = Image.open(io.BytesIO(content))
    assert mask.mode == "P"
    assert mask.getpalette()[3:6] == [128, 0, 0]
    assert mask.info["Software"] == "atrous"
    assert np.array_equal(np.asarray(mask), truth.labels)

    name, content = saved(page, "overlay")
    assert name == "my_photo.overlay.jpg"
    assert image_of(content).shape == (64, 96, 3)
    name, content = saved(page, "cutout")
    assert name == "my_photo.cutout.png"
    assert np.array_equal(image_of(content)[..., 3], 255 * truth.labels)
    assert np.array_equal(image_of(content)[truth.labels == 1, :3], red_square[truth.labels == 1])
    name, content = saved(page, "json")
    assert name == "my_photo.json"
    found = json.loads(content)
    assert (found["width"], found["height"], found["crf"]["sxy"]) == (96, 64, 60)
    assert [(c["id"], c["name"], c["color"], c["pixels"]) for c in found["classes"]] == [
        (0, "background", "#000000", 4608),
        (1, "red", "#800000", 1536),
    ]
    for each in found["classes"]:
        assert np.array_equal(mask_of(each["mask"]), truth.labels == each["id"])
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


@pytest.mark.parametrize("size", list(SIZES))
def test_parameters_run_the_crf_again(open_page, app, picture, monkeypatch, size):
    page = open_page(size)
    give(page, picture())
    settled(page)
    monkeypatch.setattr(type(app.service.segmenter.engine), "scores", lambda *_: pytest.fail("the network ran"))
    steps = page.locator("#crf-iterations")
    steps.focus()
    with page.expect_response("**/crf"):
        steps.press("Home")
    settled(page)
    assert page.locator("#value-iterations").inner_text() == "0"
    assert legend(page)[1] == ["red", "25.7", "%", "25.7", "%"]
    with page.expect_response("**/crf"):
        page.locator("#reset").click()
    settled(page)
    assert page.locator("#value-iterations").inner_text() == "10"
    assert legend(page)[1] == ["red", "25.7", "%", "25.0", "%"]
    with page.expect_request("**/crf") as waiting:
        page.locator("#preset").select_option("deeplab-largefov")
    assert waiting.value.post_data_json["sxy"] == 121
    settled(page)


def pixel(page, x, y):
    """The canvas' color at a pixel of the photo."""
    return page.evaluate(
        """([x, y]) => {
            const canvas = document.getElementById("canvas"), { width, height } = canvas;
            const scale = Math.min(width / 96, height / 64);
            const left = (width - 96 * scale) / 2, top = (height - 64 * scale) / 2;
            return [...canvas.getContext("2d").getImageData(left + x * scale, top + y * scale, 1, 1).data];
        }""",
        [x, y],
    )


def test_slider_legend_opacity_and_names(open_page, picture):
    page = open_page("desktop")
    give(page, picture())
    settled(page)
    page.locator("#opacity").fill("1")
    page.wait_for_timeout(100)
    assert pixel(page, 40.5, 30.5) == [128, 0, 0, 255]
    page.get_by_label("red", exact=True).uncheck()
    page.wait_for_timeout(100)
    assert pixel(page, 40.5, 30.5) != [128, 0, 0, 255]
    page.get_by_label("red", exact=True).check()

    # In this row the network's square is a pixel or more larger than the CRF's.
    split = page.locator("#split")
    colors = []
    for place in ("0", "1"):
        split.fill(place)
        page.wait_for_timeout(100)
        colors.append([pixel(page, x + 0.5, y + 0.5) for y in (14, 15, 48, 49) for x in range(30, 60, 5)])
    assert colors[0] != colors[1]

    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator("#tip").inner_text() == "red"
    before = pixel(page, 5, 5)
    page.mouse.wheel(0, -500)
    page.wait_for_timeout(200)
    assert pixel(page, 5, 5) != before  # zoomed in
    page.locator("#canvas").press("0")
    page.wait_for_timeout(200)
    assert pixel(page, 5, 5) == before


@pytest.mark.parametrize("size", list(SIZES))
def test_strokes(open_page, picture, truth, size):
    page = open_page(size)
    give(page, picture())
    settled(page)
    page.locator("[data-tool=brush]").click()
    page.locator("#brush-size").fill("60" if size == "desktop" else "30")
    page.locator("#brush-class").select_option("blue")
    with page.expect_response("**/crf"):
        stroke(page, (30, 32), (66, 32))
    settled(page)
    assert np.array_equal(image_of(saved(page, "mask")[1]), 2 * truth.labels)
    with page.expect_response("**/crf"):
        page.locator("#undo").click()
    settled(page)
    assert np.array_equal(image_of(saved(page, "mask")[1]), truth.labels)

    # Strokes alone divide the photo, once there are two classes.
    page.locator("#use-scores").uncheck()
    stroke(page, (30, 32), (66, 32))
    assert "second class" in page.get_by_role("alert").inner_text()
    page.locator("#brush-class").select_option("red")
    with page.expect_response("**/crf"):
        stroke(page, (5, 5), (90, 5))
    settled(page)
    assert not page.get_by_role("alert").is_visible()
    assert np.array_equal(image_of(saved(page, "mask")[1]), 1 + truth.labels)
    with page.expect_response("**/crf"):
        page.locator("#clear").click()
    settled(page)


def test_sharpen_a_mask(open_page, picture, tmp_path):
    page = open_page("phone")
    give(page, picture())
    settled(page)
    labels = np.zeros((64, 96), np.uint8)
    labels[12:44, 30:76] = 2
    write_labels(tmp_path / "rough.png", labels)
    page.get_by_text("Sharpen a mask of your own").click()
    page.locator("#mask").set_input_files(tmp_path / "rough.png")
    page.get_by_role("checkbox", name="class 2").wait_for()
    settled(page)
    assert legend(page)[1] == ["class", "2", "24.0", "%", "25.0", "%"]
    assert page.locator("#left-name").inner_text() == "your mask"
    page.locator("#own-network").click()
    page.get_by_label("red", exact=True).wait_for()
    settled(page)


def test_what_cannot_be_taken_is_told(open_page, picture):
    page = open_page("desktop", errors=True)
    page.locator("#files").set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"text"})
    page.get_by_text("notes.txt: expected a photo").wait_for()
    give(page, b"no image", "odd.png")
    page.get_by_text("odd.png: this browser cannot show this file").wait_for()
    give(page, picture())
    settled(page)
    assert not page.get_by_role("alert").is_visible()
    page.get_by_text("Sharpen a mask of your own").click()
    page.locator("#mask").set_input_files({"name": "m.png", "mimeType": "image/png", "buffer": picture()})
    page.get_by_text("expected label ids").wait_for()
    page.locator("#own-network").click()
    settled(page)


def test_a_photo_in_which_nothing_is_found(open_page, picture):
    page = open_page("phone")
    give(page, picture(image=np.full((64, 96, 3), 128, np.uint8)))
    settled(page)
    assert "Nothing found" in page.locator("#status").inner_text()


def test_large_photos_are_scaled_down_in_the_browser(open_page):
    page = open_page("desktop")
    large = io.BytesIO()
    Image.new("RGB", (600, 400), (200, 30, 30)).save(large, "PNG")
    give(page, large.getvalue(), "large.png")
    settled(page)
    assert "scaled down from 600 \u00d7 400" in page.locator("#status").inner_text()
    assert image_of(saved(page, "mask")[1]).shape == (181, 272)


@pytest.mark.slow
def test_a_large_photo_is_previewed_while_a_slider_moves(browser, make_app, served, red_square):
    large = io.BytesIO()
    Image.fromarray(np.kron(red_square, np.ones((13, 13, 1), np.uint8))).save(large, "PNG")
    with served(make_app(max_side=96)) as (port, _):
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(f"http://localhost:{port}")
        page.locator("html[data-ready]").wait_for()
        give(page, large.getvalue())
        settled(page)
        asked = []
        page.on("request", lambda r: asked.append(r.post_data_json) if r.url.endswith("/crf") else None)
        page.locator("#crf-iterations").focus()
        page.keyboard.press("Home")  # moves, and comes to rest
        page.get_by_text("(preview)").wait_for()
        page.get_by_text("(preview)").wait_for(state="hidden")
        settled(page)
        assert [each.get("max_side") for each in asked] == [1000, None]
        assert {each["iterations"] for each in asked} == {0}
        assert image_of(saved(page, "mask")[1]).shape == (832, 1248)
        context.close()


def test_several_photos_drop_paste_and_the_camera(open_page, picture):
    page = open_page("desktop")
    data = list(picture())
    drop = """([data, type]) => {
        const files = new DataTransfer();
        for (const name of ["a.png", "b.png"])
            files.items.add(new File([new Uint8Array(data)], name, { type: "image/png" }));
        const event = type === "drop" ? new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: files, bubbles: true });
        document.getElementById("stage").dispatchEvent(event);
    }"""
    page.evaluate(drop, [data, "drop"])
    settled(page)
    assert page.locator("#strip button").count() == 2
    page.evaluate(drop, [data, "paste"])
    page.locator("#strip button").nth(3).wait_for()
    settled(page)
    page.locator("#strip button").first.click()
    settled(page)
    assert saved(page, "mask")[0] == "a.png"

    page.evaluate("document.getElementById('camera').click()")
    page.locator("#camera-dialog").wait_for()
    page.wait_for_timeout(500)
    page.locator("#shoot").click()
    page.locator("#strip button").nth(4).wait_for()
    settled(page)
    assert saved(page, "mask")[0] == "camera.png"


def test_sessions_follow_the_page(open_page, app, picture):
    page = open_page("desktop", errors=True)
    give(page, picture())
    settled(page)
    (key,) = list(app.sessions._stored)[-1:]
    app.sessions.close(key)  # as after a while
    with page.expect_response("**/api/sessions"):
        page.locator("#crf-weight").press("Home")
    settled(page)
    assert not page.get_by_role("alert").is_visible()
    before = len(app.sessions)
    page.goto("about:blank")
    for _ in range(100):
        if len(app.sessions) < before:
            break
        page.wait_for_timeout(50)
    assert len(app.sessions) == before - 1


def test_work_is_seen_and_can_be_canceled(open_page, app, picture, monkeypatch):
    import threading

    go = threading.Event()
    segment = type(app.service).segment

    def slow(self, *arguments):
        assert go.wait(20)
        return segment(self, *arguments)

    monkeypatch.setattr(type(app.service), "segment", slow)
    page = open_page("phone", errors=True)
    give(page, picture())
    page.get_by_text("Network …").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Canceled.").wait_for()
    go.set()
    page.locator("#reset").is_enabled()
    give(page, picture())
    settled(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_moves_and_all_is_reached_by_keys(open_page, picture, scheme):
    page = open_page("desktop", color_scheme=scheme)
    give(page, picture())
    page.locator("#result").wait_for()
    before = page.locator("#canvas").bounding_box()
    settled(page)
    page.locator("[data-tool=brush]").click()
    assert page.locator("#canvas").bounding_box() == before
    page.keyboard.press("Escape")
    reached = set()
    page.locator("header a").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.dataset.save || ''"))
    assert {"canvas", "split", "opacity", "brush-class", "brush-size", "preset", "reset", "crf-sxy"} <= reached
    assert {"mask", "overlay", "cutout", "json"} <= reached
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas")].filter(each =>
            each.checkVisibility() && !(each.labels?.length || each.textContent.trim() || each.ariaLabel || each.title))
            .map(each => each.outerHTML)"""
    )
    assert unnamed == []


def test_swagger_ui_comes_from_this_server(open_page, url):
    pytest.importorskip("fastapi_offline")
    page = open_page("desktop")
    page.goto(f"{url}/docs")
    page.locator(".opblock").nth(5).wait_for()
    page.locator(".opblock-summary-path", has_text="segment").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").wait_for()

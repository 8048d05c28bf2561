"""The page in a real browser."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from atrous.labelmap import write_labels

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def url(make_app, served):
    with served(make_app(max_megapixels=0.05)) as (port, _):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, url):
    """Opens the page in a window of a size; in the end, nothing may have gone wrong or elsewhere."""
    contexts, wrong = [], []

    def opened(size):
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        own = (url, "data:", "blob:")
        page.on("request", lambda r: wrong.append(r.url) if not r.url.startswith(own) else None)
        page.on("response", lambda r: wrong.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        page.wait_for_selector(".hint")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def drop(page, data, name="my photo.png"):
    page.locator("input[type=file]").first.set_input_files({"name": name, "mimeType": "image/png", "buffer": data})


@pytest.mark.parametrize("size", list(SIZES))
def test_drop_a_photo_move_a_slider_take_the_mask(open_page, picture, truth, size):
    page = open_page(size)
    drop(page, picture())
    legend = page.locator("table.legend:visible")
    legend.wait_for()
    assert legend.locator("tbody tr").first.inner_text().split() == ["background", "74.3", "%", "75.0", "%"]
    assert "red" in legend.inner_text()
    note = page.locator("p.note:visible")
    assert "96 by 64 pixels; network and CRF" in note.inner_text()

    with page.expect_download() as waiting:
        page.get_by_role("link", name="Mask (PNG)").or_(page.get_by_role("button", name="Mask (PNG)")).first.click()
    assert waiting.value.suggested_filename == "my_photo.png"
    assert np.array_equal(np.asarray(Image.open(waiting.value.path())), truth.labels)

    weight = page.get_by_label("number input for Color weight").locator("visible=true")
    weight.fill("0")
    weight.press("Enter")
    page.wait_for_function(
        "() => [...document.querySelectorAll('p.note')].some(e => e.innerText.includes('CRF alone'))"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


def test_sharpen_a_mask_in_the_edit_tab(open_page, red_square, tmp_path):
    page = open_page("phone")
    page.get_by_role("tab", name="Edit").click()
    labels = np.zeros((64, 96), np.uint8)
    labels[12:44, 30:76] = 2
    write_labels(tmp_path / "rough.png", labels)
    Image.fromarray(red_square).save(tmp_path / "photo.png")
    panel = page.get_by_role("tabpanel").locator("visible=true")
    files = panel.locator("input[type=file]")
    files.nth(0).set_input_files(tmp_path / "photo.png")
    files.last.set_input_files(tmp_path / "rough.png")
    legend = page.locator("table.legend:visible")
    legend.wait_for()
    assert "bicycle" in legend.inner_text()  # VOC's names
    assert "25.0 %" in legend.inner_text()  # as in the photo
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_cannot_be_taken_is_told(open_page, picture):
    page = open_page("desktop")
    large = io.BytesIO()
    Image.new("RGB", (300, 200)).save(large, "PNG")
    drop(page, large.getvalue(), "large.png")
    page.get_by_text("at most 0.05 million pixels, got 300x200").first.wait_for()
    assert page.locator("table.legend:visible").count() == 0
    page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
    drop(page, picture())  # and the page goes on
    page.locator("table.legend:visible").wait_for()

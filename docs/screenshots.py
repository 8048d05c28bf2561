"""Screenshots in docs/images: the web page, or a report of `atrous evaluate --report`.

python docs/screenshots.py [report.html]

Needs the extras web, plot and dev, and Chromium on PATH.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).with_name("images")
VIEWPORTS = {"page-desktop": (1280, 900), "page-phone": (390, 1150), "page-strokes": (1280, 900)}
STROKES = [
    ("background", [(0.05, 0.04), (0.03, 0.5), (0.07, 0.62)]),
    ("person", [(0.32, 0.7), (0.44, 0.95)]),
    ("person", [(0.4, 0.1), (0.45, 0.28)]),
]
HIDE_OTHER_SECTIONS = """parts => parts.reduce((title, part) => {
    if (part.tagName === "H2") title = part.textContent.trim()
    if (!["", "Classes", "Along the outlines"].includes(title)) part.style.display = "none"
    return title
}, "")"""


def run_example(page: Page, name: str) -> None:
    """Run an example on the web page and wait for its result."""
    page.locator("html[data-ready]").wait_for()
    page.locator("[data-example='astronaut.jpg']").click()
    page.locator("[data-save=mask]:enabled").wait_for()
    if name == "page-strokes":
        page.locator("[data-tool=brush]").click()
        page.locator("#brush-size").fill("26")
        for label, points in STROKES:
            page.locator("#brush-class").select_option(label)
            draw(page, points)
            page.locator("#busy").wait_for(state="hidden")
    page.mouse.move(0, 0)
    page.locator("#status").evaluate("status => status.style.visibility = 'hidden'")  # computing times of this machine
    page.wait_for_timeout(300)


def draw(page: Page, points: list[tuple[float, float]]) -> None:
    """Draw a line through points, in shares of the square photo's sides."""
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    side = min(box["width"], box["height"])
    left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
    page.mouse.move(left + points[0][0] * side, top + points[0][1] * side)
    page.mouse.down()
    for x, y in points[1:]:
        page.mouse.move(left + x * side, top + y * side, steps=8)
    page.mouse.up()


def save(page: Page, name: str, *, full_page: bool = True) -> None:
    """Save a screenshot without its alpha channel."""
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, full_page=full_page)
    Image.open(path).convert("RGB").save(path, optimize=True)


def main() -> None:
    """Take the report's screenshot if one is given, those of the web page otherwise."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        if sys.argv[1:]:
            page = browser.new_page(viewport={"width": 1040, "height": 700})
            page.goto(Path(sys.argv[1]).resolve().as_uri())
            page.locator("main > *").evaluate_all(HIDE_OTHER_SECTIONS)
            return save(page, "evaluation-report")
        command = [sys.executable, "-m", "atrous", "serve", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                url = server.stdout.readline().split()[0]
                for name in ("page-desktop", *VIEWPORTS):  # the first round warms up the server
                    width, height = VIEWPORTS[name]
                    page = browser.new_page(viewport={"width": width, "height": height})
                    page.goto(url)
                    run_example(page, name)
                    save(page, name, full_page=name != "page-phone")
            finally:
                server.terminate()


if __name__ == "__main__":
    main()

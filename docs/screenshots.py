"""Screenshots in docs/images: the web page, or a report of `atrous evaluate --report`.

python docs/screenshots.py [report.html]

Needs the extras web, plot and dev, and Chromium on PATH. The web page shows computing times: run on an idle machine.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).with_name("images")
VIEWPORTS = {"page-desktop": (1280, 900), "page-phone": (390, 1150), "page-edit": (1280, 900)}
HIDE_OTHER_SECTIONS = """parts => parts.reduce((title, part) => {
    if (part.tagName === "H2") title = part.textContent.trim()
    if (!["", "Classes", "Along the outlines"].includes(title)) part.style.display = "none"
    return title
}, "")"""


def run_example(page: Page, name: str) -> None:
    """Run an example on the web page and wait for its result."""
    page.wait_for_selector(".hint")
    if name == "page-edit":
        page.get_by_role("tab", name="Edit").click()
        page.get_by_role("button", name="Take the example: a rough mask").click()
    else:
        page.locator(".gallery-item").first.click()
    page.locator("p.note:visible").wait_for()
    page.mouse.move(0, 0)
    page.wait_for_function("() => [...document.images].every(image => image.complete)")
    page.wait_for_timeout(800)  # CSS transitions


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

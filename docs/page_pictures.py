"""Take the pictures of the page that docs/page.md shows; the times in them ask for a quiet machine.

python docs/page_pictures.py [--out docs/images]

Needs the extras web and dev, and a Chromium on the path.
"""

import argparse
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

SIZES = {"page-desktop": (1280, 900), "page-phone": (390, 1150), "page-edit": (1280, 900)}


def main() -> None:
    """Start a server, look at its page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("images"))
    out = parser.parse_args().out
    command = [sys.executable, "-m", "atrous", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
        )
        try:
            assert server.stdout is not None
            found = re.match(r"(http://\S+?/) ", server.stdout.readline())
            assert found
            for name in ("page-desktop", *SIZES):  # the first time warms the server
                take(browser, found[1], name, out / f"{name}.png")
        finally:
            browser.close()
            server.terminate()


def take(browser: Browser, url: str, name: str, path: Path) -> None:
    """Open the page, take an example and save what is to be seen."""
    width, height = SIZES[name]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(url)
    page.wait_for_selector(".hint")
    if name == "page-edit":
        page.get_by_role("tab", name="Edit").click()
        page.get_by_role("button", name="Take the example: a rough mask").click()
    else:
        page.locator(".gallery-item").first.click()
    page.locator("p.note:visible").wait_for()
    settle(page)
    taken = page.screenshot(full_page=name != "page-phone")
    page.close()
    Image.open(io.BytesIO(taken)).convert("RGB").save(path, optimize=True)


def settle(page: Page) -> None:
    """Wait until all pictures are there and nothing is on its way."""
    page.mouse.move(0, 0)
    page.wait_for_function("() => [...document.images].every(image => image.complete)")
    page.wait_for_timeout(800)  # transitions


if __name__ == "__main__":
    main()

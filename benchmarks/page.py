"""Measure the page of `atrous serve` in Chromium, on the loopback address (needs playwright and Chromium).

Prints the page's compressed size, the time until it accepts a photo, and for a photo of 375 x 500 pixels the times from
its choice to the first sign of work and to the labels.

    python benchmarks/page.py [--runs 10]
"""

import argparse
import gzip
import io
import re
import shutil
import statistics
import subprocess
import sys

from PIL import Image
from playwright.sync_api import sync_playwright

from atrous.web.server import STATIC
from crf_inputs import ROOT
from segment import processor

# Records when the page is ready, when a photo was chosen, when work shows and when the labels can be saved.
MARKS = """
window.marks = {};
new MutationObserver(() => {
  const now = performance.now(), busy = document.getElementById("busy");
  if (document.documentElement.dataset.ready !== undefined) marks.ready ??= now;
  if (marks.given === undefined || !busy) return;
  if (!busy.hidden) marks.work ??= now;
  if (marks.work && busy.hidden && document.querySelector("[data-save=mask]:enabled")) marks.labels ??= now;
}).observe(document, {attributes: true, subtree: true, childList: true});
document.addEventListener("change", event => {
  if (event.target.id === "files") marks.given = performance.now();
}, true);
"""


def photo():
    """Return a JPEG of 375 x 500 pixels."""
    file = io.BytesIO()
    Image.open(ROOT / "examples" / "cat.jpg").convert("RGB").resize((500, 375)).save(file, "JPEG", quality=90)
    return file.getvalue()


def visit(browser, url, data):
    """Open the page with an empty cache, give it the photo, and return the milliseconds of each event."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(MARKS)
    page.goto(url)
    page.locator("html[data-ready]").wait_for()
    page.locator("#files").set_input_files({"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": data})
    page.locator("[data-save=mask]:enabled").wait_for()
    page.locator("#busy").wait_for(state="hidden")
    marks = page.evaluate("marks")
    context.close()
    return {
        "page accepts a photo": marks["ready"],
        "first sign of work": marks["work"] - marks["given"],
        "labels": marks["labels"] - marks["given"],
    }


def main():
    """Start a server, open the page, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    content = b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()) if path.is_file())
    print(f"{processor()}; page: {len(gzip.compress(content)) / 1000:.0f} kB compressed")
    server = subprocess.Popen(
        [sys.executable, "-m", "atrous", "serve", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    with server, sync_playwright() as playwright:
        try:
            url = re.match(r"(http://\S+?)/ ", server.stdout.readline())[1]
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            visits = [visit(browser, url, photo()) for _ in range(options.runs)]
            browser.close()
        finally:
            server.terminate()
    for event in visits[0]:
        times = [times[event] for times in visits]
        print(f"{event}: first {times[0]:.0f} ms, median {statistics.median(times):.0f} ms, worst {max(times):.0f} ms")


if __name__ == "__main__":
    main()

"""Take the picture of a report that docs/evaluation.md shows: its scores, classes and curves along the outlines.

atrous evaluate VOC_FOLDER --report report.html
python docs/report_picture.py report.html [--out docs/images/evaluation-report.png]

Needs the extras plot and dev, and a Chromium on the path.
"""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1040, 700
# From a heading to the next, all that lies in other parts is hidden.
HIDE_THE_REST = """() => {
    let shown = true
    for (const part of document.querySelector("main").children) {
        if (part.tagName === "H2") shown = ["Classes", "Along the outlines"].includes(part.textContent.trim())
        if (!shown) part.style.display = "none"
    }
    document.querySelector("main").style.paddingBottom = "16px"
}"""


def main() -> None:
    """Open the report, hide what is not to be seen and save the rest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("images") / "evaluation-report.png")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(arguments.report.resolve().as_uri())
        page.evaluate(HIDE_THE_REST)
        taken = page.screenshot(full_page=True)
        browser.close()
    Image.open(io.BytesIO(taken)).convert("RGB").save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()

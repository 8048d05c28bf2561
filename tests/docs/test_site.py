"""The docs' site: built without a warning, all links good, and nothing in it comes from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from code_blocks import ROOT

pytest.importorskip("mkdocs", reason="the extra docs is not installed")
pytestmark = pytest.mark.slow

# Tags and rules that a browser fetches something for.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=["']?(?P<src>[^"'\s>]+)"""
    r"""|<link\b(?![^>]*rel=["']?(?:canonical|prev|next))[^>]*\bhref=["']?(?P<href>[^"'\s>]+)"""
    r"""|url\(["']?(?P<url>[^"')]+)|@import\s+["'](?P<import>[^"']+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_built(site):
    for page in (ROOT / "docs").rglob("*.md"):
        built = site / page.relative_to(ROOT / "docs").with_suffix(".html")
        assert built.is_file()
    assert not list(site.rglob("*.py"))


def test_no_file_asks_for_one_elsewhere(site):
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        for found in FETCHED.finditer(path.read_text(encoding="utf-8")):
            address = next(filter(None, found.groups()))
            assert not re.match(r"(https?:)?//", address), f"{path.relative_to(site)}: {address}"


def test_no_links_lead_out_of_the_site_unchecked(site):
    # The link checker looks at addresses inside the site only; those outside are few, and known.
    outside = set()
    for path in site.rglob("*.html"):
        outside |= set(re.findall(r'<a\b[^>]*href="(https?://[^"]+)"', path.read_text(encoding="utf-8")))
    assert len(outside) < 12, outside


@pytest.fixture
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not on PATH")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_the_search_works_without_a_server(site, browser):
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.locator("[data-md-component=search-query]").press_sequentially("bilateral")
    page.locator(".md-search-result__link").first.wait_for(timeout=20_000, state="attached")


def test_pages_say_what_they_are_about(site):
    descriptions = [
        re.search(r'<meta name="description" content="([^"]{30,})"', path.read_text(encoding="utf-8"))
        for path in [*site.glob("*.html"), *site.glob("api/*.html")]
    ]
    assert all(descriptions)
    assert len({found[1] for found in descriptions}) == len(descriptions)


def test_a_browser_stays_at_home(site, browser):
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    handler.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = f"http://127.0.0.1:{server.server_port}/"
    asked, broken = [], []
    try:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.on("response", lambda response: response.status < 400 or broken.append(response.url))
        for built in sorted(site.rglob("*.html")):
            page.goto(home + built.relative_to(site).as_posix())
        # The search, whose index and worker are loaded at its first use.
        page.goto(home + "index.html")
        page.locator("[data-md-component=search-query]").press_sequentially("bilateral")
        page.locator(".md-search-result__link").first.wait_for(timeout=20_000, state="attached")
    finally:
        server.shutdown()
    assert not broken
    assert [url for url in asked if not url.startswith((home, "data:", "blob:"))] == []
    assert any("search" in url for url in asked)

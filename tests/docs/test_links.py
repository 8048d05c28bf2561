"""Links between README, docs and files of the repository; the site's own check comes with `test_site`."""

import re

import pytest
from code_blocks import PAGES, ROOT

FENCED = re.compile(r"^ *(`{3,}).*?^ *\1 *$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?P<target>[^)\s#]*)(?:#(?P<anchor>[^)\s]+))?\)")
OWN = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]


def prose(page):
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page):
    """What a heading's link ends in, here and on the site, and the names that a page of the reference shows."""
    text = prose(page)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    words = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[-\s]+", "-", part) for part in words} | set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))


@pytest.mark.parametrize("page", OWN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for link in LINK.finditer(prose(page)):
        if re.match(r"https?://", link["target"]):
            continue
        there = (page.parent / link["target"]).resolve() if link["target"] else page
        assert there.is_file(), f"{page.name}: no {link['target']}"
        assert there.is_relative_to(ROOT), f"{page.name}: {link['target']} is outside the repository"
        if link["anchor"]:
            assert link["anchor"] in anchors(there), f"{page.name}: no {link['anchor']} in {there.name}"


def test_every_page_is_in_the_sites_list():
    listed = set(re.findall(r"^ +- (?:[\w ]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.name != "README.md"}

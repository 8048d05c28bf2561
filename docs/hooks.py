"""MkDocs hooks: site pages for the repository files that docs/ links to, descriptions of pages, types of attributes."""

import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LEXERS = {".py": "python", ".toml": "toml", ".hpp": "cpp", ".cpp": "cpp"}
LINK = re.compile(r"\]\((\.\./[^)\s#]+)(#[^)\s]*)?\)")
GROUP = re.compile(r"^(\w+(?:, \w+)+)\n((?:    .*\n?)+)", re.MULTILINE)


@event_priority(100)  # before the plugin that checks the links
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each repository file outside docs/ that a page links to."""
    for page in list(files.documentation_pages()):
        for target, _ in LINK.findall(page.content_string):
            path, place = _target(target, page.src_uri)
            if not path.startswith("docs/") and place not in files.src_uris:
                text = (ROOT / path).read_text(encoding="utf-8")
                if not path.endswith(".md"):
                    text = f"# {path}\n\n```{LEXERS.get(Path(path).suffix, 'text')}\n{text}```\n"
                text = f"---\nsearch:\n  exclude: true\n---\n\n{text}"
                files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links to repository files into links to their pages."""

    def replace(link: re.Match[str]) -> str:
        path, place = _target(link[1], page.file.src_uri)
        here = posixpath.dirname(page.file.src_uri) or "."
        return link[0] if path.startswith("docs/") else f"]({posixpath.relpath(place, here)})"

    return LINK.sub(replace, markdown)


def on_page_content(html: str, page: Page, **_: Any) -> None:
    """Describe the page by its title and first paragraph."""
    paragraphs = (" ".join(re.sub("<[^>]+>", "", text).split()) for text in re.findall("(?s)<p>(.*?)</p>", html))
    if first := next(filter(None, paragraphs), ""):
        page.meta.setdefault("description", f"{page.title}: {first}".replace('"', "&quot;"))


def _target(link: str, page: str) -> tuple[str, str]:
    """Return the repository file of a page's link, and the page for it."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return path, "index.md" if path == "README.md" else f"repository/{path.removesuffix('.md')}.md"


class SplitGroups(griffe.Extension):
    """Splits numpydoc groups without a type, such as "height, width"; Griffe types them all like the first name."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite an object's docstring."""

        def split(group: re.Match[str]) -> str:
            return "".join(f"{name}\n{group[2].rstrip()}\n" for name in group[1].split(", "))

        if obj.docstring is not None:
            obj.docstring.value = GROUP.sub(split, obj.docstring.value)

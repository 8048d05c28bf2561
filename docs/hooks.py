"""MkDocs hooks: site pages for the repository files that docs/ links to, and a description of each page."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LEXERS = {".py": "python", ".toml": "toml", ".hpp": "cpp", ".cpp": "cpp"}
LINK = re.compile(r"\]\((\.\./[^)\s#]+)(#[^)\s]*)?\)")


@event_priority(100)  # before the plugin that checks the links
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each repository file outside docs/ that a page links to."""
    for page in list(files.documentation_pages()):
        for target, _ in LINK.findall(page.content_string):
            path = _path(target, page.src_uri)
            if not path.startswith("docs/") and _page(path) not in files.src_uris:
                text = (ROOT / path).read_text(encoding="utf-8")
                if not path.endswith(".md"):
                    text = f"# {path}\n\n```{LEXERS.get(Path(path).suffix, 'text')}\n{text}```\n"
                text = f"---\nsearch:\n  exclude: true\n---\n\n{text}"
                files.append(File.generated(config, _page(path), content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links to repository files into links to their pages."""

    def replace(link: re.Match[str]) -> str:
        path = _path(link[1], page.file.src_uri)
        if path.startswith("docs/"):
            return link[0]
        return f"]({posixpath.relpath(_page(path), posixpath.dirname(page.file.src_uri) or '.')})"

    return LINK.sub(replace, markdown)


def on_page_content(html: str, page: Page, **_: Any) -> None:
    """Describe the page by its title and first paragraph."""
    paragraphs = (" ".join(re.sub("<[^>]+>", "", text).split()) for text in re.findall("(?s)<p>(.*?)</p>", html))
    if first := next(filter(None, paragraphs), ""):
        page.meta.setdefault("description", f"{page.title}: {first}".replace('"', "&quot;"))


def _path(target: str, page: str) -> str:
    return posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))


def _page(path: str) -> str:
    return "index.md" if path == "README.md" else f"repository/{path.removesuffix('.md')}.md"

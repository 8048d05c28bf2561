"""Links of the docs to files elsewhere in the repository: on the site, each such file has a page of its own.

So that a link works both where the repository is read and on the site, which has no address of the repository to
link to. And each page's description: its title and its first paragraph.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Not in the site's search, nor in its lists of pages.
HEAD = "---\nsearch:\n  exclude: true\n---\n\n"
LANGUAGES = {".py": "python", ".toml": "toml", ".hpp": "cpp", ".cpp": "cpp", ".md": "", ".txt": "text"}
_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_TAG = re.compile(r"<[^>]+>")
_LINK = re.compile(r"(?P<text>\]\()(?P<target>(?:\.\./)[^)\s#]+)(?P<anchor>#[^)\s]*)?\)")


@event_priority(100)  # before the plugin that checks the links
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file of the repository that a page links to."""
    for source in [file for file in files if file.src_uri.endswith(".md") and file.abs_src_path]:
        for path in _linked(Path(source.abs_src_path or "").read_text(encoding="utf-8"), source.src_uri):
            place = _place(path)
            if place not in files.src_uris:
                files.append(File.generated(config, place, content=_content(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn links to files of the repository into links to their pages."""

    def there(link: re.Match[str]) -> str:
        path = _repository_path(link["target"], page.file.src_uri)
        if path is None:
            return link[0]
        place = posixpath.relpath(_place(path), posixpath.dirname(page.file.src_uri) or ".")
        return f"{link['text']}{place})"

    return _LINK.sub(there, markdown)


def on_page_content(html: str, page: Page, **_: Any) -> None:
    """Describe the page in its head."""
    texts = (" ".join(_TAG.sub("", found).split()) for found in _PARAGRAPH.findall(html))
    if first := next(filter(None, texts), ""):
        page.meta.setdefault("description", f"{page.title}: {first}".replace('"', "&quot;"))


def _linked(markdown: str, page: str) -> list[str]:
    found = (_repository_path(link["target"], page) for link in _LINK.finditer(markdown))
    return [path for path in found if path is not None]


def _repository_path(target: str, page: str) -> str | None:
    """Return a link's target as a path in the repository, None if it stays inside docs/."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    if path.startswith("docs/"):
        return None
    if not (ROOT / path).is_file():
        raise PluginError(f"{page}: links to {target}, which is no file of the repository")
    return path


def _place(path: str) -> str:
    return "index.md" if path == "README.md" else f"repository/{path.removesuffix('.md')}.md"


def _content(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    suffix = Path(path).suffix
    if suffix not in LANGUAGES:
        raise PluginError(f"{path}: no page can be made of such a file")
    return HEAD + (text if suffix == ".md" else f"# {path}\n\n```{LANGUAGES[suffix]}\n{text}```\n")

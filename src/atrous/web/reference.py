"""The HTTP interface's description as a page of its own: no scripts, nothing fetched."""

from collections.abc import Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.6 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
code, pre { font: .9em/1.5 ui-monospace, monospace; }
pre { background: #8881; border: 1px solid #8883; border-radius: .5rem; padding: .8rem 1rem; overflow-x: auto; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .35rem .8rem .35rem 0;
  border-bottom: 1px solid #8883; vertical-align: top; } th { font-weight: 600; font-size: .85em; }
.verb { background: #0d9488; color: #fff; border-radius: .3rem; padding: .1rem .5rem; font-size: .8em; }
a { color: inherit; }
"""

_EXAMPLES = """curl -F image=@photo.jpg {url}/api/segment -o mask.png
curl -F image=@photo.jpg -F format=json {url}/api/segment
curl -F image=@photo.jpg -F format=overlay -F srgb=10 {url}/api/segment -o overlay.jpg
curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' '{url}/api/segment?crf=false' -o mask.png"""

_DECODE = """import numpy as np

def decode(mask):
    counts = mask["counts"]
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(mask["size"], order="F")   # (H, W) bool"""


def reference_page(schema: dict[str, Any], url: str) -> str:
    """Render an OpenAPI schema as HTML.

    Parameters
    ----------
    schema : dict
    url : str
        Of the page, as whoever asks calls it.
    """
    url = url.rstrip("/")
    info = schema["info"]
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>{escape(info['title'])}: HTTP interface</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}: HTTP interface</h1>",
        f"<p>{escape(info['description'])} <a href='../'>The page</a> ·",
        " <a href='openapi.json'>OpenAPI schema</a></p>",
        f"<pre>{escape(_EXAMPLES.format(url=url))}</pre>",
    ]
    for path, operations in schema["paths"].items():
        for verb, operation in operations.items():
            parts.append(_operation(schema, path, verb, operation))
    parts.append("<h2>A mask of <code>format=json</code> as an array</h2>")
    parts.append(f"<pre>{escape(_DECODE)}</pre></body></html>")
    return "".join(parts)


def _operation(schema: dict[str, Any], path: str, verb: str, operation: dict[str, Any]) -> str:
    parts = [f"<h2><span class=verb>{verb.upper()}</span> <code>{escape(path)}</code></h2>"]
    parts.append(f"<p>{escape(operation.get('description', ''))}</p>")
    if operation.get("parameters"):
        rows = [
            (f"<code>{escape(p['name'])}</code>", _type(p["schema"]), escape(p.get("description", "")))
            for p in operation["parameters"]
        ]
        parts.append(_table(("query or form", "type", ""), rows))
    rows = []
    for status, response in operation["responses"].items():
        kinds = ", ".join(f"<code>{escape(kind)}</code>" for kind in response.get("content", {}))
        rows.append((escape(str(status)), kinds, escape(response.get("description", ""))))
    parts.append(_table(("status", "body", ""), rows))
    ok = operation["responses"]["200"]["content"].get("application/json", {}).get("schema", {})
    if "$ref" in ok:
        parts.append(_fields(schema, ok["$ref"].rsplit("/", 1)[1]))
    return "".join(parts)


def _fields(schema: dict[str, Any], name: str) -> str:
    described = schema["components"]["schemas"][name]
    rows = [
        (f"<code>{escape(key)}</code>", _type(value), escape(value.get("description", "")))
        for key, value in described["properties"].items()
    ]
    nested = [
        reference.rsplit("/", 1)[1] for value in described["properties"].values() for reference in _references(value)
    ]
    title = f"<p><b>{escape(name)}</b>: {escape(described.get('description', ''))}</p>"
    return title + _table(("JSON key", "type", ""), rows) + "".join(_fields(schema, each) for each in nested)


def _references(value: dict[str, Any]) -> list[str]:
    found = [value["$ref"]] if "$ref" in value else []
    for each in (*value.get("anyOf", []), value.get("items")):
        found += _references(each) if isinstance(each, dict) else []
    return found


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return escape(value["$ref"].rsplit("/", 1)[1])
    if "anyOf" in value:
        return " or ".join(_type(each) for each in value["anyOf"] if each.get("type") != "null")
    if "enum" in value:
        return ", ".join(f"<code>{escape(str(each))}</code>" for each in value["enum"])
    if value.get("type") == "array" and isinstance(value.get("items"), dict):
        return f"list of {_type(value['items'])}"
    bounds = f", {value['minimum']:g} to {value['maximum']:g}" if "minimum" in value and "maximum" in value else ""
    return escape(str(value.get("type", "any"))) + bounds


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    cells = "".join(f"<th>{each}</th>" for each in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=table><table><tr>{cells}</tr>{body}</table></div>"

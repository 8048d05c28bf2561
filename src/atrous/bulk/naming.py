"""Keys: names of masks below the output folder."""

import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote

from ..image_io import IMAGE_SUFFIXES

# Folder of the run's records in the output. No key starts with it.
RECORDS = "_bulk"
# Backslashes, control characters and the surrogates with which Python decodes bytes that are not UTF-8.
UNSAFE = re.compile(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def key_of(path: str) -> str:
    """Convert any path, URL or column value to a name that is safe below an output folder.

    Schemes, leading slashes, empty parts and `.` are dropped. Parts `..`, control characters, backslashes and bytes
    that are not UTF-8 are percent-encoded. So each key is text and stays below the output folder.

    Examples
    --------
    >>> key_of("s3://bucket/a//b.jpg"), key_of("/data/../x")
    ('bucket/a/b.jpg', 'data/%2E%2E/x')
    """
    parts = [part for part in path.split("://", 1)[-1].split("/") if part not in ("", ".")]
    key = UNSAFE.sub(_percent_encoded, "/".join("%2E%2E" if part == ".." else part for part in parts))
    if key.split("/", 1)[0] == RECORDS:
        key = "%5F" + key[1:]
    return key or "%00"


def without_suffix(key: str) -> str:
    """Return a key without the suffix of an image format; other suffixes are part of the name."""
    stem, suffix = posixpath.splitext(key)
    return stem if suffix.lower() in IMAGE_SUFFIXES else key


def without_query(path: str) -> str:
    """Return a web address without its query, which may be a temporary signature; return other paths unchanged."""
    return re.split("[?#]", path, maxsplit=1)[0] if path.startswith(("http://", "https://")) else path


def folded(key: str) -> str:
    """Return a form that is equal for keys that some file systems treat as the same name."""
    return unicodedata.normalize("NFC", key).casefold()


def assigned(paths: list[str], taken: set[str]) -> Iterator[tuple[str, bool]]:
    """Yield the key of each path and whether it is free. Add each key to `taken`, the folded keys of earlier runs.

    A key omits a web address' query and the image's suffix, unless several paths share it or an earlier run took it.
    """
    whole = [key_of(path) for path in paths]
    short = [without_suffix(key_of(without_query(path))) for path in paths]
    counts = Counter(map(folded, short))
    for long_key, short_key in zip(whole, short, strict=True):
        alone = counts[folded(short_key)] == 1 and folded(short_key) not in taken
        key = short_key if alone else long_key
        free = folded(key) not in taken
        taken.add(folded(key))
        yield key, free


def _percent_encoded(match: re.Match[str]) -> str:
    escaped = "\udc80" <= match[0] <= "\udcff"
    return quote(match[0], errors="surrogateescape" if escaped else "surrogatepass")

"""Under which name a photo's mask is kept."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from ..data.image_io import IMAGE_SUFFIXES

# The run's own records lie in this folder of the output; no key may begin with it.
RECORDS = "_bulk"


def key_of(path: str) -> str:
    """Turn any path, URL or column value into a name that is safe below an output folder.

    Schemes, leading slashes, empty parts and `.` fall away. Parts `..`, control characters, backslashes and bytes
    that are no UTF-8 are percent-encoded, so that no key leaves the output folder and each one is text.

    Examples
    --------
    >>> key_of("s3://bucket/a//b.jpg"), key_of("/data/../x")
    ('bucket/a/b.jpg', 'data/%2E%2E/x')
    """
    parts = [part for part in path.split("://", 1)[-1].split("/") if part not in ("", ".")]
    key = "/".join("%2E%2E" if part == ".." else _clean(part) for part in parts)
    if key.split("/", 1)[0] == RECORDS:
        key = "%5F" + key[1:]
    return key or "%00"


def without_suffix(key: str) -> str:
    """Return a key without the suffix of a picture; other suffixes are part of the name."""
    path = PurePosixPath(key)
    return key[: -len(path.suffix)] if path.suffix.lower() in IMAGE_SUFFIXES and path.stem else key


def without_query(path: str) -> str:
    """Return a web address without its query, such as a signature that is another one tomorrow; else the path."""
    return re.split("[?#]", path, maxsplit=1)[0] if path.startswith(("http://", "https://")) else path


def folded(key: str) -> str:
    """Return what two keys share that some file systems hold for the same."""
    return unicodedata.normalize("NFC", key).casefold()


def assigned(paths: Iterable[str], taken: set[str]) -> Iterator[tuple[str, bool]]:
    """Yield the key of each path, and whether it is free.

    A path's key is `key_of` it without a web address' query and the picture's suffix; with both where several paths
    share it, or an earlier run gave it away. Only paths that are the same even so are not free.

    Parameters
    ----------
    paths : iterable of str
        In a fixed order.
    taken : set of str
        Folded keys of earlier runs; grows by those that are yielded.
    """
    paths = list(paths)
    whole = [key_of(path) for path in paths]
    short = [without_suffix(key_of(without_query(path))) for path in paths]
    counts = Counter(map(folded, short))
    for long_key, short_key in zip(whole, short, strict=True):
        alone = counts[folded(short_key)] == 1 and folded(short_key) not in taken
        key = short_key if alone else long_key
        free = folded(key) not in taken
        taken.add(folded(key))
        yield key, free


def _clean(part: str) -> str:
    if part.isprintable() and "\\" not in part:  # nearly all; of millions of photos the rest would take a minute
        return part
    return "".join(
        "".join(
            f"%{byte:02X}" for byte in c.encode("utf-8", "surrogateescape" if "\udc80" <= c <= "\udcff" else "replace")
        )
        if c == "\\" or unicodedata.category(c) in ("Cc", "Cs")
        else c
        for c in part
    )

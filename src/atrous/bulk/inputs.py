"""Which photos there are: a folder, a list, a pattern, parquet files or WebDataset tars."""

import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..data.images import IMAGE_SUFFIXES
from ..errors import InputError
from .job import Kind, Settings
from .keys import without_query
from .storage import Storage
from .tables import parquet_entries
from .tars import tar_entries

PARQUET_SUFFIXES, TAR_SUFFIXES = frozenset({".parquet", ".pq"}), frozenset({".tar"})
LIST_SUFFIXES = frozenset({".txt", ".lst", ".list"})
SUFFIXES: dict[Kind, frozenset[str]] = {"photos": IMAGE_SUFFIXES, "parquet": PARQUET_SUFFIXES, "tars": TAR_SUFFIXES}
READERS = 16  # files that are looked into at a time

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """A photo of the input.

    Attributes
    ----------
    source : str
        What tells it from all others: the file, with the member of a tar or the row of a parquet file.
    name : str
        What its key is made of.
    file : str
        Below the input's root; the whole path or URL if it was listed.
    offset, size : int
        A tar's member in bytes; a parquet file's row and -1; -1 and -1 for a file of its own.
    stamp : str
        Of the file; changes with its content.
    reason : str
        Why it cannot be segmented, known from the listing; mostly empty.
    """

    source: str
    name: str
    file: str
    offset: int = -1
    size: int = -1
    stamp: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Listing:
    """The photos of an input, in a fixed order.

    Attributes
    ----------
    root : str
        Folder that `Entry.file` is relative to; empty where each file is a path or URL of its own.
    whole : bool
        Whether the root is the input: not one file of it, or those that fit a pattern.
    """

    root: str
    kind: Kind
    entries: list[Entry]
    whole: bool


def check_places(given: str, out: Storage) -> None:
    """Raise InputError if there is no such input, or it is not clearly apart from the output."""
    if given == "-" or any(c in given for c in "*?["):
        return
    place = Storage(given)
    try:
        there = place.is_folder() or place.is_file()
    except Exception as error:  # each file system has errors of its own
        raise InputError(f"{given}: cannot be read ({one_line(error)})") from None
    if not there:
        raise InputError(f"{given}: no such file or folder")
    if place.local == out.local and place.fs.protocol == out.fs.protocol:
        inner, outer = (Path(os.path.realpath(s.root) if s.local else s.root) for s in (place, out))
        if inner == outer:
            raise InputError(f"{place.url}: input and output are the same; choose another output folder")
        if inner.is_relative_to(outer):
            raise InputError(f"{place.url}: the input lies inside the output {out.url}; choose another output folder")


def listing(given: str, settings: Settings, leave_out: Storage) -> Listing:
    """Find the photos of an input.

    Parameters
    ----------
    given : str
        A folder, a text file with a path or URL in each line, a pattern, or one parquet file, tar or photo.
    settings : Settings
    leave_out : Storage
        The output folder, if it lies in the input's.

    Raises
    ------
    InputError
        If it is not there, holds nothing to segment, or more than one kind of it.
    """
    try:
        root, files, listed = _files(given, leave_out)
    except InputError:
        raise
    except Exception as error:  # each file system has errors of its own
        place = f": {error.filename}" if isinstance(error, OSError) and error.filename not in (None, given) else ""
        raise InputError(f"{given}: cannot be read ({one_line(error)}{place})") from None
    kind = settings.kind or _kind(given, [name for name, _ in files], listed=listed)
    files = [(name, stamp) for name, stamp in files if listed or _suffix(name) in SUFFIXES[kind]]
    if not files:
        raise InputError(f"{given}: nothing to segment; looked for {', '.join(sorted(SUFFIXES[kind]))}")
    if kind == "photos":
        entries = [
            Entry(name, name, name, stamp=stamp, reason="" if stamp or "://" in name else "no such file")
            for name, stamp in files
        ]
    else:
        look = tar_entries if kind == "tars" else parquet_entries
        rows = _in_threads(lambda file: look(root, file[0], file[1], settings), files)
        entries = [Entry(*row) for found in rows for row in found]
        if all(entry.reason for entry in entries):
            first = entries[0] if entries else None
            why = f"{first.source}: {first.reason}" if first else "no photos in it"
            raise InputError(f"{given}: none of its {len(files)} {kind} files can be used ({why})")
    return Listing(root, kind, entries, whole=Storage(given).is_folder() if root else False)


def one_line(error: BaseException) -> str:
    """Return what an error says, on one line."""
    reason = getattr(error, "strerror", None) or str(error)
    return " ".join(str(reason).split())[:300] or type(error).__name__


def _files(given: str, leave_out: Storage) -> tuple[str, list[tuple[str, str]], bool]:
    """Return root, sorted (name, stamp), and whether they were listed one by one."""
    if given == "-" or _suffix(given) in LIST_SUFFIXES:
        return "", _listed(given), True
    place = Storage(given)
    if place.is_folder():
        below = leave_out.root.removeprefix(place.root + "/") + "/"
        inside = place.local == leave_out.local and leave_out.root.startswith(place.root + "/")
        return place.url, sorted(f for f in place.walk() if not (inside and f[0].startswith(below))), False
    if place.is_file():
        if without_query(given) != given:
            return "", [(place.url, place.stamp())], False
        folder, _, name = place.url.rpartition("/")
        return folder, [(name, place.stamp())], False
    if any(c in given for c in "*?["):
        head = place.root[: min(place.root.index(c) for c in "*?[" if c in place.root)].rpartition("/")[0]
        found = sorted(path for path in map(str, place.fs.glob(place.root)) if not place.fs.isdir(path))
        protocol = "" if place.local else place.url[: place.url.index(place.root)]
        root = Storage(protocol + head)
        names = [path.removeprefix(head + "/") for path in found]

        def stamp(name: str) -> str:
            try:
                return root.stamp(name)
            except OSError:  # a link that leads nowhere, or gone since
                return ""

        return root.url, list(zip(names, _in_threads(stamp, names), strict=True)), False
    raise InputError(f"{given}: no such file or folder")


def _listed(given: str) -> list[tuple[str, str]]:
    if given == "-":
        text = sys.stdin.buffer.read()
    else:
        place = Storage(given)
        if not place.is_file():
            raise InputError(f"{given}: no such file; expected a text file with a path or URL in each line")
        text = place.read("")
    # str.splitlines would also split at characters that a name may hold, such as U+2028.
    split = text.decode("utf-8-sig", "surrogateescape").split("\n")
    lines = dict.fromkeys(line for line in (line.removesuffix("\r") for line in split) if line.strip())
    if not lines:
        raise InputError(f"{given}: an empty list; expected a path or URL in each line")

    def stamped(line: str) -> tuple[str, str]:
        if "://" in line:
            return line, ""  # a million questions to a store would take longer than they are worth
        path = Path(line).absolute()
        try:
            status = path.stat()
        except (OSError, ValueError):
            return str(path), ""
        return str(path), f"{status.st_size}:{status.st_mtime_ns}"

    return sorted(dict(map(stamped, lines)).items())


def _kind(given: str, names: list[str], *, listed: bool) -> Kind:
    suffixes = {_suffix(name) for name in names}
    kinds = [kind for kind, known in SUFFIXES.items() if suffixes & known]
    if len(kinds) > 1:
        raise InputError(f"{given}: holds {' and '.join(kinds)}; say which to segment (--kind {kinds[0]})")
    if not kinds:
        if listed and any("://" in name for name in names):
            return "photos"  # addresses need not say what they hold
        packed = any(name.lower().endswith((".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")) for name in names)
        remedy = "compressed tars cannot be read piecewise: unpack them to .tar" if packed else "nothing to segment"
        raise InputError(f"{given}: {remedy}; looked for photos, {', '.join(sorted(PARQUET_SUFFIXES | TAR_SUFFIXES))}")
    return kinds[0]


def _suffix(name: str) -> str:
    base = without_query(name).rsplit("/", 1)[-1].lower()
    return base[base.rindex(".") :] if "." in base else ""


def _in_threads(look: Callable[..., T], items: Iterable[object]) -> list[T]:
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(look, items))

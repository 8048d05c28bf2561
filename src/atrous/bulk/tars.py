"""WebDataset tars: which photos they hold, and masks in the same form."""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any

from ..data.image_io import IMAGE_SUFFIXES
from .config import Settings
from .storage import file_storage

# Where a sample holds several pictures, the first of these is the photo: the other may be its mask.
PREFERRED = (".jpg", ".jpeg", ".webp", ".png")
BLOCK = 512  # of a tar, in bytes


def tar_entries(root: str, file: str, stamp: str, settings: Settings) -> list[tuple[Any, ...]]:
    """Return the fields of an `Entry` for each sample of a tar, and for the tar if it is damaged.

    A sample is called what its members' names have before the first dot of the last part; its photo is the member
    whose rest is a picture's suffix, or the one that the settings name.
    """
    base = file.removesuffix(".tar") if file.lower().endswith(".tar") else file
    samples: dict[str, dict[str, tarfile.TarInfo]] = {}
    damage = ""
    try:
        storage, name = file_storage(root, file)
        with storage.open(name) as stream:
            length = stream.seek(0, io.SEEK_END)
            stream.seek(0)
            damage = _gather(stream, samples)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        damage = " ".join(str(error).split()) or type(error).__name__
    rows: list[tuple[Any, ...]] = []
    for sample, members in samples.items():
        photo = _photo(members, settings.column)
        if photo is None:
            continue
        reason = "" if photo.offset_data + photo.size <= length else "the tar is cut short before the photo's end"
        row = f"{file}/{photo.name}", f"{base}/{sample}", file, photo.offset_data, photo.size, stamp, reason
        rows.append(row)
    if damage:
        rows.append((file, base, file, -1, -1, stamp, f"a damaged tar ({damage}); its later photos are not seen"))
    return rows


def tar_bytes(samples: Iterable[tuple[str, dict[str, bytes]]]) -> bytes:
    """Return a WebDataset tar of (key, suffix -> content), the same bytes for the same samples."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for key, members in samples:
            for suffix, content in members.items():
                member = tarfile.TarInfo(f"{sample_name(key)}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return sink.getvalue()


def sample_name(key: str) -> str:
    """Return a key as a sample's name, in which a dot of the last part would end it."""
    folder, slash, last = key.rpartition("/")
    return folder + slash + last.replace("%", "%25").replace(".", "%2E")


def as_json(values: dict[str, object]) -> bytes:
    """Return a sample's JSON member."""
    return json.dumps(values, ensure_ascii=False).encode()


def _gather(stream: Any, samples: dict[str, dict[str, tarfile.TarInfo]]) -> str:
    """Fill in the samples by name; return what is wrong with the tar, or nothing."""
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for sample, suffix, member in _members(tar):
                samples.setdefault(sample, {}).setdefault(suffix, member)
            end = tar.offset
    except tarfile.TarError as error:
        return str(error) or type(error).__name__
    # tarfile takes a damaged header for the end, where a block of zeros has to be, or the file's own end.
    stream.seek(end)
    return f"no header at byte {end}" if stream.read(BLOCK).strip(b"\0") else ""


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    for member in tar:
        last = member.name.rsplit("/", 1)[-1]
        if member.isreg() and not member.issparse() and not last.startswith(".") and "." in last:
            stem = last.split(".", 1)[0]
            yield member.name[: -len(last)] + stem, last[len(stem) :].lower(), member


def _photo(members: dict[str, tarfile.TarInfo], wanted: str | None) -> tarfile.TarInfo | None:
    if wanted is not None:
        return members.get("." + wanted.lower().lstrip("."))
    for suffix in (*PREFERRED, *members):
        if suffix in members and suffix in IMAGE_SUFFIXES:
            return members[suffix]
    return None

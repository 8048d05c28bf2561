"""What a clip's file says of itself before it is decoded: its kind, and how long it should be."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SEGMENT = b"\x18\x53\x80\x67"  # Matroska's element that holds all others
_EBML = b"\x1a\x45\xdf\xa3"
# Boxes that an MP4 or MOV file may begin with.
_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid"})


@dataclass(frozen=True)
class Structure:
    """A file's outermost parts.

    Attributes
    ----------
    kind : "mp4", "avi", "matroska" or ""
        "" if it is none of these.
    size : int
        Bytes that are there.
    declared : int or None
        Bytes that the outermost parts claim; more than `size` where the file was cut short. None if it does not say.
    index_missing : bool
        An MP4 or MOV file without its `moov`, which says where the frames are.
    """

    kind: str
    size: int
    declared: int | None = None
    index_missing: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether the file ends before it should."""
        return self.declared is not None and self.declared > self.size


def file_structure(path: Path) -> Structure:
    """Read the headers of a file's outermost parts.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in _BOXES:
            return _boxes(file, size)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            # A recording that was broken off never got its size.
            declared = int.from_bytes(head[4:8], "little")
            return Structure("avi", size, declared + 8 if declared else None)
        if head[:4] == _EBML:
            return Structure("matroska", size, _segment_end(file))
    return Structure("", size)


def _boxes(file: BinaryIO, size: int) -> Structure:
    place, names = 0, set()
    while place + 8 <= size:
        file.seek(place)
        head = file.read(16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # to the file's end
            length = size - place
        if length < 8:
            break
        names.add(name)
        place += length
    return Structure("mp4", size, place, b"moov" not in names)


def _segment_end(file: BinaryIO) -> int | None:
    file.seek(4)
    header = _number(file)
    if header is None:
        return None
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return None
    length = _number(file)
    return None if length is None else file.tell() + length


def _number(file: BinaryIO) -> int | None:
    """Read an EBML size; None where all its bits are set, which is what a live recording writes."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> more)]) + file.read(more), "big")
    return None if value == (1 << 7 * (more + 1)) - 1 else value

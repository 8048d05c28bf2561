"""Orientation tags in EXIF and XMP metadata."""

import re
import struct

_ORIENTATION = 0x0112
_FORMATS = {1: "B", 3: "H", 4: "I"}  # of tag types: BYTE, SHORT, LONG
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def orientation_of(exif: bytes | None, xmp: bytes | None = None) -> int:
    """Return the orientation, 1 to 8, from EXIF or else from XMP; 1 if neither has a valid one.

    Parameters
    ----------
    exif : bytes
        TIFF header and directories, with or without the prefix `Exif` and two zero bytes.
    xmp : bytes
    """
    noted = _from_exif(exif.removeprefix(b"Exif\0\0")) if exif else None
    if noted is None and xmp and (match := _XMP.search(xmp)):
        noted = int(match[1])
    return noted if noted is not None and 1 <= noted <= 8 else 1


def _from_exif(tiff: bytes) -> int | None:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    entries = tiff[start + 2 : start + 2 + 12 * count]
    for tag, kind, _, value in struct.iter_unpack(f"{order}HHI4s", entries[: len(entries) // 12 * 12]):
        if tag == _ORIENTATION and kind in _FORMATS:
            return int(struct.unpack_from(order + _FORMATS[kind], value)[0])
    return None

import struct

import pytest

from atrous.image_io.base import orientation_of


def exif(*entries, order="<"):
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    body = b"".join(struct.pack(f"{order}HHI", tag, kind, 1) + value for tag, kind, value in entries)
    return head + struct.pack(f"{order}H", len(entries)) + body


SIX = (0x0112, 3, b"\6\0\0\0")


@pytest.mark.parametrize(
    ("noted", "orientation"),
    [
        (exif(SIX), 6),
        (b"Exif\0\0" + exif(SIX), 6),
        (exif((0x0112, 3, b"\0\6\0\0"), order=">"), 6),
        (exif((0x0112, 4, b"\6\0\0\0")), 6),
        (exif((0x0112, 1, b"\6\0\0\0")), 6),
        (exif((0x0100, 3, b"\3\0\0\0"), SIX), 6),
        (exif((0x0112, 5, b"\6\0\0\0")), 1),
        (exif((0x0112, 3, b"\x09\0\0\0")), 1),
        (exif((0x0112, 3, b"\0\0\0\0")), 1),
        (exif(SIX)[:-1], 1),
        (exif(SIX)[:9], 1),
        (b"II*\0\xff\xff\xff\xff", 1),
        (b"nonsense", 1),
        (b"", 1),
        (None, 1),
    ],
)
def test_exif(noted, orientation):
    assert orientation_of(noted) == orientation


def test_xmp_where_exif_says_nothing():
    assert orientation_of(None, b'<x tiff:Orientation="8">') == 8
    assert orientation_of(exif(), b"<tiff:Orientation>3</tiff:Orientation>") == 3
    assert orientation_of(exif(SIX), b'tiff:Orientation="8"') == 6
    assert orientation_of(None, b'tiff:Orientation="9"') == 1

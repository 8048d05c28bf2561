import io
import struct

import numpy as np
import pytest
from PIL import Image

from atrous.image_io.base import ImageError, ImageTooLargeError
from atrous.image_io.decode import decode, read_rgb, stored_size

SMOOTH = np.asarray(Image.linear_gradient("L").resize((64, 48)).rotate(10))
COLORS = np.dstack([SMOOTH, SMOOTH[::-1], SMOOTH[:, ::-1]])


def jpeg(image=None, **options):
    sink = io.BytesIO()
    (Image.fromarray(COLORS) if image is None else image).save(sink, "JPEG", **{"quality": 95, **options})
    return sink.getvalue()


def segment(marker, payload):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload


def with_segments(data, *segments):
    return data[:2] + b"".join(segments) + data[2:]


def far(one, other):
    return abs(one.astype(int) - other.astype(int)).max()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_pixels_are_pillow_s_own(options):
    data = jpeg(**options)
    assert np.array_equal(read_rgb(data), np.asarray(Image.open(io.BytesIO(data))))


def test_inks():
    inks = Image.merge(
        "CMYK", [Image.fromarray(255 - band) for band in COLORS.transpose(2, 0, 1)] + [Image.new("L", (64, 48))]
    )
    # Pillow writes what Photoshop does: Adobe's mark, and the inks turned round.
    assert far(read_rgb(jpeg(inks, subsampling=0)), COLORS) <= 12


def test_inks_as_brightness_with_differences():
    data = jpeg(Image.fromarray(np.dstack([COLORS, np.full_like(SMOOTH, 255)]), "RGBX").convert("CMYK"), subsampling=0)
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    # A file of YCCK whose differences are none: brightness from the first channel, black from the fourth.
    gray = np.dstack([255 - SMOOTH] + [np.full_like(SMOOTH, 127)] * 2 + [np.zeros_like(SMOOTH)])
    data = bytearray(jpeg(Image.fromarray(gray, "CMYK"), subsampling=0))
    data[data.index(b"Adobe") + 11] = 2
    assert far(read_rgb(bytes(data)), np.dstack([255 - SMOOTH] * 3)) <= 12


@pytest.mark.parametrize(
    "segments",
    [
        [segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0")],
        [segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")],
        [segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>')],
        [
            segment(0xFE, b"\xff\xd8\xff\xda"),
            b"\xff\xff\xff",
            segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\4\0\1\0\0\0\6\0\0\0"),
        ],
    ],
    ids=["little-endian", "big-endian", "xmp", "behind a comment and fill bytes"],
)
def test_orientation(segments):
    assert np.array_equal(read_rgb(with_segments(jpeg(), *segments)), np.rot90(read_rgb(jpeg()), -1))


def test_several_pictures_and_a_film_behind_the_first(tmp_path):
    images = [Image.fromarray(COLORS), Image.fromarray(COLORS[::-1].copy())]
    images[0].save(tmp_path / "two.mpo", format="MPO", save_all=True, append_images=images[1:], quality=95)
    data = (tmp_path / "two.mpo").read_bytes() + b"\xff\xda" * 1000
    assert np.array_equal(read_rgb(data), read_rgb(jpeg()))
    assert decode(data).image.format == "JPEG"


def test_scans_beyond_any_encoder_s(monkeypatch):
    data = jpeg(progressive=True)
    scan = data.rindex(b"\xff\xda")
    repeated = data[:scan] + data[scan:-2] * 100 + data[-2:]
    assert read_rgb(repeated).shape == (48, 64, 3)
    monkeypatch.setattr("atrous.image_io._jpeg._MOST_PASSES", 50 * 96 * 80)
    with pytest.raises(ImageTooLargeError, match="at most 50 scans"):
        read_rgb(repeated)
    # What looks like scans behind the end is none.
    assert np.array_equal(read_rgb(data + b"\xff\xda" * 200), read_rgb(data))


def test_every_cut_is_refused():
    data = jpeg()
    for end in [*range(0, 700, 7), *range(700, len(data) - 1, 97), len(data) - 2]:
        with pytest.raises(ImageError):
            read_rgb(data[:end])


def altered(marker):
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + 1] = marker
    return bytes(data)


def with_frame(offset, value):
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + offset] = value
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (altered(0xC9), "arithmetic"),
        (altered(0xC5), "hierarchical"),
        (altered(0xFE), "a scan without a frame"),
        (with_frame(4, 12), "12 bits"),
        (with_frame(9, 2), "got 2"),
        (jpeg()[:2] + segment(0xDB, b"\0" + bytes(64)) * 6000 + jpeg()[2:], "tables"),
        (jpeg()[:2] + segment(0xFE, b"") * 20_000 + jpeg()[2:], "10000 segments"),
        (b"\xff\xd8\xff\xd9", "ends before"),
    ],
)
def test_what_is_no_photo(data, says):
    with pytest.raises(ImageError, match=says):
        read_rgb(data)


def test_the_size_alone():
    assert stored_size(jpeg()) == (64, 48)

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from atrous.image_io.base import ImageError
from atrous.image_io.decode import decode, read_rgb, stored_size

GRAY, COLOR, PALETTE, GRAY_ALPHA, COLOR_ALPHA = 0, 2, 3, 4, 6
WHITE = [255, 255, 255]


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows, width, color, bits=8, *, before=b"", after=b"", packed=None):
    """Return a PNG of rows of bytes, with chunks before and behind its pixels."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, color, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows)) if packed is None else packed
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + after + chunk(b"IEND", b"")


def shorts(*values):
    return struct.pack(f">{len(values)}H", *values)


def test_sixteen_bits():
    assert read_rgb(png([shorts(0x1234, 0x56FF, 0xFFFF)], 1, COLOR, 16))[0, 0].tolist() == [0x12, 0x56, 0xFF]
    opaque = shorts(0x1234, 0x56FF, 0xFFFF, 0xFFFF)
    assert read_rgb(png([opaque], 1, COLOR_ALPHA, 16))[0, 0].tolist() == [0x12, 0x56, 0xFF]
    assert read_rgb(png([shorts(0x80FF, 0xFFFF)], 1, GRAY_ALPHA, 16))[0, 0].tolist() == [0x80] * 3
    assert read_rgb(png([shorts(0, 255, 256, 65535)], 4, GRAY, 16))[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize(
    ("bits", "packed", "transparent", "shades"),
    [
        (1, b"\x40", 1, [0, None]),
        (1, b"\x40", 0, [None, 255]),
        (2, b"\x1b", 2, [0, 85, None, 255]),
        (4, b"\x07\x8f", 7, [0, None, 136, 255]),
        (8, b"\x00\x07\xff", 7, [0, None, 255]),
        (16, shorts(7, 0x0700, 0x0707, 0xFFFF), 0x0707, [0, 7, None, 255]),
    ],
)
def test_a_transparent_shade_of_every_depth(bits, packed, transparent, shades):
    image = read_rgb(png([packed], len(shades), GRAY, bits, before=chunk(b"tRNS", shorts(transparent))))
    assert image[0].tolist() == [WHITE if shade is None else [shade] * 3 for shade in shades]


def test_a_transparent_color_of_8_and_16_bits():
    row = bytes([1, 2, 3, 9, 9, 9])
    image = read_rgb(png([row], 2, COLOR, before=chunk(b"tRNS", shorts(1, 2, 3))))
    assert image[0].tolist() == [WHITE, [9, 9, 9]]
    row = shorts(0x0100, 0x0200, 0x0300, 0x0900, 0x0900, 0x0900)
    image = read_rgb(png([row], 2, COLOR, 16, before=chunk(b"tRNS", shorts(0x0100, 0x0200, 0x0300))))
    assert image[0].tolist() == [WHITE, [9, 9, 9]]


def test_palettes_keep_their_ids_and_their_colors(tmp_path):
    for count in (2, 4, 16, 200):
        image = Image.fromarray(np.arange(count, dtype=np.uint8)[None])
        image.putpalette(np.random.default_rng(0).integers(0, 256, 3 * count, dtype=np.uint8).tobytes())
        image.save(tmp_path / "palette.png")
        assert np.asarray(decode(tmp_path / "palette.png").image)[0].tolist() == list(range(count))
        assert np.array_equal(read_rgb(tmp_path / "palette.png"), np.asarray(image.convert("RGB")))


def test_of_an_animation_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (9, 5), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "animation.png", save_all=True, append_images=frames[1:])
    assert (read_rgb(tmp_path / "animation.png") == [255, 0, 0]).all()


def test_pixels_in_many_chunks_and_metadata_behind_them():
    packed = zlib.compress(b"".join(b"\0" + bytes([i] * 3) for i in range(5)))
    pieces = b"".join(chunk(b"IDAT", packed[i : i + 1]) for i in range(1, len(packed)))
    data = png([b""] * 5, 3, GRAY, packed=packed[:1], after=pieces + chunk(b"tIME", bytes(7)))
    assert read_rgb(data)[:, 0, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(
    "chunks",
    [
        chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"),
        chunk(
            b"zTXt",
            b"Raw profile type exif\0\0"
            + zlib.compress(b"\nexif\n 32\n" + b"457869660000" + b"49492a00080000000100120103000100000006000000"),
        ),
        chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 32\n49492a00080000000100120103000100000006000000"),
        chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<tiff:Orientation>6</tiff:Orientation>")),
    ],
    ids=["exif", "packed hexadecimal", "hexadecimal", "xmp", "packed xmp"],
)
def test_orientation(chunks, place):
    data = png([bytes([1, 2]), bytes([3, 4])], 2, GRAY, **{place: chunks})
    assert read_rgb(data)[..., 0].tolist() == [[3, 1], [4, 2]]
    assert np.asarray(decode(data).image).tolist() == [[1, 2], [3, 4]]


def test_texts_that_are_no_metadata():
    odd = chunk(b"zTXt", b"Raw profile type exif\0\0no zlib") + chunk(b"tEXt", b"Raw profile type exif\0\n\n\nxyz")
    assert read_rgb(png([b"\7"], 1, GRAY, before=odd + chunk(b"iTXt", b"XML:com.adobe.xmp"))).tolist() == [[[7] * 3]]


def good():
    return png([bytes([9, 8, 7])] * 20, 3, GRAY)


@pytest.mark.parametrize(("kind", "offset"), [(b"IHDR", 7), (b"IDAT", 6), (b"IDAT", -1)])
def test_a_changed_byte_is_told_by_the_checksum(kind, offset):
    data = bytearray(good())
    data[data.index(kind) + offset] ^= 1
    with pytest.raises(ImageError, match="damaged"):
        read_rgb(bytes(data))


def test_every_cut_is_refused_or_leaves_all_pixels():
    data, whole = good(), read_rgb(good())
    shown = 0
    for end in range(len(data)):
        try:
            assert np.array_equal(read_rgb(data[:end]), whole)
            shown += 1
        except ImageError:
            continue
    assert shown == 16  # the last chunk and the checksum before it


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (png([b"\7"], 1, GRAY, before=chunk(b"CgBI", b"PP\x20\2")), "CgBI"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "no image"),
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 4) + b"\0\1\2\3" + bytes(8), "a chunk without a name"),
        (png([b"\7"], 1, GRAY, 3), "damaged"),
        (png([b"\7"], 1, GRAY, 0, before=chunk(b"tRNS", b"\0\7")), "0 bits"),
        (png([], 0, GRAY), "damaged"),
    ],
    ids=["Apple's", "no chunks", "no name", "3 bits", "0 bits", "no pixels"],
)
def test_what_is_no_png(data, says):
    with pytest.raises(ImageError, match=says):
        read_rgb(data)


def test_the_size_alone():
    assert stored_size(good()) == (3, 20)

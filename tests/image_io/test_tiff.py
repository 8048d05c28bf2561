import struct

import numpy as np
import pytest
from PIL import Image
from tiffs import tiff

from atrous.image_io.base import ImageError, ImageTooLargeError
from atrous.image_io.decode import decode, read_rgb

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (37, 53, 3), dtype=np.uint8)
RGB16 = RNG.integers(0, 65536, (37, 53, 3), dtype=np.uint16)
GRAY, GRAY16 = RGB[..., 0], RGB16[..., 0]
WHITE_IS_ZERO, BLACK_IS_ZERO, COLOR, CMYK, YCBCR, LAB = 0, 1, 2, 5, 6, 8


def three(gray):
    return np.repeat(gray[..., None], 3, axis=2)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("deflate", [False, True], ids=["raw", "deflate"])
@pytest.mark.parametrize("layout", [{"rows": 10}, {"tile": 16}, {}], ids=["strips", "tiles", "one strip"])
def test_colors_in_every_arrangement(order, planar, deflate, layout):
    options = {"order": order, "planar": planar, "deflate": deflate, **layout}
    assert np.array_equal(read_rgb(tiff(RGB, COLOR, **options)), RGB)
    assert np.array_equal(read_rgb(tiff(RGB16, COLOR, **options)), RGB16 >> 8)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("deflate", [False, True], ids=["raw", "deflate"])
def test_gray_of_8_and_16_bits_from_black_or_from_white(order, deflate):
    options = {"order": order, "deflate": deflate}
    assert np.array_equal(read_rgb(tiff(GRAY, BLACK_IS_ZERO, **options)), three(GRAY))
    assert np.array_equal(read_rgb(tiff(GRAY, WHITE_IS_ZERO, **options)), three(255 - GRAY))
    assert np.array_equal(read_rgb(tiff(GRAY16, BLACK_IS_ZERO, **options)), three(GRAY16 >> 8))
    assert np.array_equal(read_rgb(tiff(GRAY16, WHITE_IS_ZERO, **options)), three((65535 - GRAY16) >> 8))


def test_gray_of_fewer_than_8_and_of_12_bits():
    shape = np.zeros((1, 4), np.uint8)
    assert read_rgb(tiff(shape, BLACK_IS_ZERO, bits=1, packed=b"\x50"))[0, :, 0].tolist() == [0, 255, 0, 255]
    assert read_rgb(tiff(shape, BLACK_IS_ZERO, bits=2, packed=b"\x1b"))[0, :, 0].tolist() == [0, 85, 170, 255]
    assert read_rgb(tiff(shape, BLACK_IS_ZERO, bits=4, packed=b"\x07\x8f"))[0, :, 0].tolist() == [0, 119, 136, 255]
    twelve = bytes.fromhex("000800 010fff")  # 0, 0x800, 0x010, 0xfff
    assert read_rgb(tiff(shape, BLACK_IS_ZERO, bits=12, packed=twelve))[0, :, 0].tolist() == [0, 128, 1, 255]


@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("deflate", [False, True], ids=["raw", "deflate"])
def test_more_channels_than_colors(planar, deflate):
    options = {"planar": planar, "deflate": deflate}
    assert np.array_equal(read_rgb(tiff(np.dstack([RGB, GRAY]), COLOR, t338=0, **options)), RGB)
    assert np.array_equal(read_rgb(tiff(np.dstack([RGB, GRAY, GRAY]), COLOR, t338=(0, 0), **options)), RGB)
    assert np.array_equal(read_rgb(tiff(np.dstack([RGB16, GRAY16]), COLOR, t338=0, **options)), RGB16 >> 8)
    laid_on_white = np.round(255 + (RGB.astype(float) - 255) * (GRAY / 255)[..., None])
    assert abs(read_rgb(tiff(np.dstack([RGB, GRAY]), COLOR, t338=2, **options)) - laid_on_white).max() <= 1


@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
@pytest.mark.parametrize("deflate", [False, True], ids=["raw", "deflate"])
def test_inks_and_brightness_with_differences(planar, deflate):
    options = {"planar": planar, "deflate": deflate}
    inks = np.dstack([255 - RGB, np.zeros_like(GRAY)])
    assert np.array_equal(read_rgb(tiff(inks, CMYK, **options)), RGB)
    inks16 = np.dstack([65535 - RGB16, np.zeros_like(GRAY16)])
    assert abs(read_rgb(tiff(inks16, CMYK, **options)).astype(int) - (RGB16 >> 8)).max() <= 1
    colorless = np.dstack([GRAY, np.full_like(GRAY, 128), np.full_like(GRAY, 128)])
    assert abs(read_rgb(tiff(colorless, YCBCR, t530=(1, 1), **options)).astype(int) - three(GRAY)).max() <= 2


def test_colors_by_lightness():
    white_gray_red = np.array([[[255, 0, 0], [128, 0, 0], [136, 80, 67]]], np.uint8)
    assert abs(read_rgb(tiff(white_gray_red, LAB)).astype(int) - [[[255] * 3, [119] * 3, [250, 3, 11]]]).max() <= 2


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("f2", "1 channel of 16 floating-point bits"),
        ("f4", "1 channel of 32 floating-point bits"),
        ("f8", "1 channel of 64 floating-point bits"),
        ("i1", "1 channel of 8 signed bits"),
        ("i2", "1 channel of 16 signed bits"),
        ("i4", "1 channel of 32 signed bits"),
        ("u4", "1 channel of 32 unsigned bits"),
        ("c8", "1 channel of 64 complex bits"),
    ],
)
@pytest.mark.parametrize("order", "<>")
def test_numbers_that_are_no_colors_are_refused_as_what_they_are(kind, order, says):
    with pytest.raises(ImageError, match=says):
        read_rgb(tiff(np.full((4, 4), 3, kind), BLACK_IS_ZERO, order=order))


@pytest.mark.parametrize("channels", [2, 5, 7, 13])
@pytest.mark.parametrize("planar", [False, True], ids=["chunky", "planar"])
def test_bands_without_colors_are_refused_as_what_they_are(channels, planar, caplog):
    bands = np.zeros((4, 4, channels), np.uint8)
    with pytest.raises(ImageError, match=f"{channels} channels of 8 unsigned bits") as caught:
        read_rgb(tiff(bands, BLACK_IS_ZERO, planar=planar, t338=(0,) * (channels - 1)))
    assert "\n" not in str(caught.value)
    assert not caplog.records  # Pillow logs more than one line of it


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (tiff(RGB, LAB, planar=True), "Lab.* in planes"),
        (tiff(np.dstack([GRAY, GRAY]), BLACK_IS_ZERO, planar=True, t338=2), "2 channels .* in planes"),
        (tiff(GRAY, BLACK_IS_ZERO, order=">", big=True), "BigTIFF"),
        (tiff(GRAY, BLACK_IS_ZERO, t254=1), "thumbnail"),
        (tiff(np.zeros((4, 4), np.uint16), BLACK_IS_ZERO, bits=10, packed=bytes(20)), "10 unsigned bits"),
    ],
    ids=["lab", "planes of gray and alpha", "big", "thumbnail", "10 bits"],
)
def test_other_kinds_are_refused_as_what_they_are(data, says):
    with pytest.raises(ImageError, match=says):
        read_rgb(data)


def test_a_large_file_s_variant():
    assert np.array_equal(read_rgb(tiff(RGB, COLOR, big=True, rows=10, deflate=True)), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deflate", [False, True], ids=["raw", "deflate"])
def test_orientation(orientation, deflate):
    stored = {
        1: GRAY,
        2: GRAY[:, ::-1],
        3: GRAY[::-1, ::-1],
        4: GRAY[::-1],
        5: GRAY.T,
        6: np.rot90(GRAY, 1),
        7: GRAY[::-1, ::-1].T,
        8: np.rot90(GRAY, -1),
    }[orientation]
    data = tiff(np.ascontiguousarray(stored), BLACK_IS_ZERO, deflate=deflate, t274=orientation)
    assert np.array_equal(read_rgb(data), three(GRAY))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "group4", "jpeg", "zstd", "lzma", "webp"])
def test_compressions(tmp_path, compression):
    image = Image.fromarray(np.kron(RGB[:8, :8], np.ones((8, 8, 1), np.uint8)))
    image = image.convert("1" if compression == "group4" else "RGB")
    try:
        image.save(tmp_path / "photo.tif", compression=compression)
    except (OSError, ValueError):
        pytest.skip(f"Pillow is built without {compression}")
    difference = abs(read_rgb(tmp_path / "photo.tif").astype(int) - np.asarray(image.convert("RGB"))).mean()
    assert difference < (20 if compression in ("jpeg", "webp") else 1e-9)


def test_of_several_pages_the_first(tmp_path):
    pages = [Image.new("RGB", (9, 5), color) for color in ("red", "blue")]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert (read_rgb(tmp_path / "pages.tif") == [255, 0, 0]).all()


def test_a_tile_far_larger_than_the_image():
    with pytest.raises(ImageTooLargeError, match="8192x8192"):
        read_rgb(tiff(GRAY, BLACK_IS_ZERO, tile=8192))


def entry(data, tag):
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    return next(at for at in range(start + 2, start + 2 + 12 * count, 12) if data[at] + 256 * data[at + 1] == tag)


@pytest.mark.parametrize(
    ("tag", "offset", "value"),
    [(256, 8, 0), (257, 8, 0), (278, 8, 0), (273, 4, 0), (273, 0, 999), (256, 2, 2), (258, 4, 10**6)],
    ids=["no width", "no height", "no rows", "no strips", "no offsets", "a width in letters", "a million depths"],
)
def test_damaged_tags(tag, offset, value):
    data = bytearray(tiff(GRAY, BLACK_IS_ZERO, rows=37))
    at = entry(data, tag) + offset
    data[at : at + (2 if offset < 4 else 4)] = value.to_bytes(2 if offset < 4 else 4, "little")
    with pytest.raises(ImageError, match="damaged"):
        read_rgb(bytes(data))


def test_values_of_tags_that_reach_beyond_the_end():
    data = tiff(RGB, COLOR)
    with pytest.raises(ImageError, match="damaged"):
        read_rgb(data[: entry(data, 258) + 14])


def test_the_pixels_alone_are_left():
    data = tiff(GRAY, BLACK_IS_ZERO)
    exif = tiff(GRAY, BLACK_IS_ZERO, t34665=8, t700=(60, 60), t34675=(1, 2, 3))
    tags = decode(exif).image.tag_v2
    assert {34665, 700, 34675}.isdisjoint(tags)
    assert np.array_equal(read_rgb(exif), read_rgb(data))

"""GIF, WebP, BMP, PPM, TGA, AVIF, HEIC and JPEG 2000."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, features

from atrous.image_io.base import ImageError, ImageTooLargeError, Limits
from atrous.image_io.decode import decode, read_rgb, stored_size

RNG = np.random.default_rng(0)
SMOOTH = np.asarray(Image.linear_gradient("L").resize((64, 48)).rotate(10))
COLORS = np.dstack([SMOOTH, SMOOTH[::-1], SMOOTH[:, ::-1]])
NOISE = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)


def saved(image, form, **options):
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def colors(form, **options):
    return saved(Image.fromarray(COLORS), form, **options)


def far(one, other):
    return abs(one.astype(int) - other.astype(int)).mean()


needs_avif = pytest.mark.skipif(not features.check("avif"), reason="Pillow is built without AVIF")
needs_jpeg2000 = pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow is built without JPEG 2000")


@pytest.mark.parametrize(
    ("form", "options", "most"),
    [
        ("BMP", {}, 0),
        ("PPM", {}, 0),
        ("TGA", {}, 0),
        ("TGA", {"compression": "tga_rle", "id_section": b"drawn by hand"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 90}, 8),
        pytest.param("AVIF", {"quality": 90, "speed": 10}, 8, marks=needs_avif),
        ("HEIF", {"quality": 90}, 8),
        pytest.param("JPEG2000", {}, 0, marks=needs_jpeg2000),
        pytest.param("JPEG2000", {"no_jp2": True}, 0, marks=needs_jpeg2000),
    ],
)
def test_colors(form, options, most):
    data = colors(form, **options)
    assert far(read_rgb(data), COLORS) <= most
    assert stored_size(data) == (64, 48)
    assert decode(data).stored.format == form


@pytest.mark.parametrize("form", ["GIF", "WEBP", "HEIF", pytest.param("AVIF", marks=needs_avif)])
def test_of_an_animation_the_first_frame(form):
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue", "lime")]
    image = read_rgb(saved(frames[0], form, save_all=True, append_images=frames[1:]))
    assert far(image, np.full((32, 32, 3), [255, 0, 0])) < 3


@pytest.mark.parametrize("form", ["WEBP", pytest.param("AVIF", marks=needs_avif)])
def test_orientation(form):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert far(read_rgb(colors(form, exif=exif)), np.rot90(COLORS, -1)) < 8


@pytest.mark.parametrize("form", ["WEBP", pytest.param("AVIF", marks=needs_avif)])
def test_transparent_pixels_lie_on_white(form):
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, :32] = 255
    image = read_rgb(saved(Image.fromarray(np.dstack([COLORS, alpha])), form, quality=95))
    assert far(image[:, :28], COLORS[:, :28]) < 5
    assert far(image[:, 36:], np.full((48, 28, 3), 255)) < 5


def test_tga_with_a_palette_in_gray_and_with_alpha():
    few = Image.fromarray(COLORS).quantize(64)
    assert np.array_equal(read_rgb(saved(few, "TGA")), few.convert("RGB"))
    assert np.array_equal(read_rgb(saved(Image.fromarray(SMOOTH), "TGA"))[..., 1], SMOOTH)
    alpha = np.where(SMOOTH > 99, 255, 0).astype(np.uint8)
    image = read_rgb(saved(Image.fromarray(np.dstack([COLORS, alpha])), "TGA"))
    assert np.array_equal(image, np.where(alpha[..., None], COLORS, 255))


@needs_jpeg2000
def test_jpeg_2000_of_16_bits_and_with_alpha():
    deep = Image.fromarray(SMOOTH.astype(np.uint16) * 257)
    assert np.array_equal(read_rgb(saved(deep, "JPEG2000"))[..., 1], SMOOTH)
    opaque = Image.fromarray(np.dstack([COLORS, np.full_like(SMOOTH, 255)]))
    assert np.array_equal(read_rgb(saved(opaque, "JPEG2000")), COLORS)


def gif(before=b"", screen=(17, 13), place=(0, 0)):
    data = saved(Image.fromarray(NOISE).quantize(64), "GIF")
    start = 13 + (3 << (data[10] & 7) + 1)
    frame = data.index(b",", start)
    head = data[:6] + struct.pack("<HH", *screen) + data[10:start]
    return head + before + b"," + struct.pack("<HH", *place) + data[frame + 5 :]


def test_gif_with_comments_padding_and_a_transparent_color():
    plain = read_rgb(gif())
    assert np.array_equal(plain, np.asarray(Image.fromarray(NOISE).quantize(64).convert("RGB")))
    comment = b"\x21\xfe" + (b"\x05hello" * 500) + b"\0"
    assert np.array_equal(read_rgb(gif(comment + b"\0\0" + b"\x21\xff\x0bNETSCAPE2.0\3\1\0\0\0")), plain)
    index = np.asarray(decode(gif()).image)
    control = b"\x21\xf9\4\1\0\0" + bytes([index[2, 3]]) + b"\0"
    assert (read_rgb(gif(comment + control + comment))[index == index[2, 3]] == 255).all()


def test_a_gif_s_frame_may_reach_beyond_its_screen():
    assert read_rgb(gif(screen=(1, 1), place=(5, 6))).shape == (19, 22, 3)
    with pytest.raises(ImageTooLargeError, match="65500"):
        read_rgb(gif(place=(65_500, 0)))


def bmp_runs(bits, content, size=(4, 2), compression=1):
    palette = b"".join(bytes([i, i, 255, 0]) for i in range(1 << bits))
    header = struct.pack("<IiiHHIIIIII", 40, *size, 1, bits, compression, len(content), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + len(palette)) + header + palette + content


def test_bmp_with_run_lengths():
    image = read_rgb(bmp_runs(8, b"\4\7\0\0" + b"\0\4\1\2\3\4\0\1"))
    assert image[..., 1].tolist() == [[1, 2, 3, 4], [7, 7, 7, 7]]  # from the bottom up
    with pytest.raises(ImageError, match="damaged"):
        read_rgb(bmp_runs(8, b"\4\7\0\0"))
    with pytest.raises(ImageError, match="4-bit"):
        read_rgb(bmp_runs(4, b"\0\3\x12\x30", compression=2))
    with pytest.raises(ImageTooLargeError, match="4 million"):
        read_rgb(bmp_runs(8, b"", size=(3000, 3000)))


def test_old_bmp_with_short_numbers():
    content = b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + struct.pack("<IHHHH", 12, 2, 1, 1, 24) + b"\1\2\3\4\5\6\0\0"
    assert read_rgb(content).tolist() == [[[3, 2, 1], [6, 5, 4]]]
    assert stored_size(content) == (2, 1)


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (b"P1 4 2\n0 1 0 1\n1111", [[255, 0, 255, 0], [0, 0, 0, 0]]),
        (b"P1\n# a comment\n4 2 0101#end\n1111", [[255, 0, 255, 0], [0, 0, 0, 0]]),
        (b"P4 4 2\n\x50\xf0", [[255, 0, 255, 0], [0, 0, 0, 0]]),
        (b"P2 3 1 255 0 7 255", [[0, 7, 255]]),
        (b"P2 3 1 3\n0 1 # one\n3", [[0, 85, 255]]),
        (b"P2 2 1 65535 256 65535", [[1, 255]]),
        (b"P3 1 1 255 9 9 9 junk is behind the end".replace(b"junk is behind the end", b"1 2 3"), [[9]]),
        (b"P5 3 1 255\n\0\7\xff", [[0, 7, 255]]),
        (b"P5 3 1 3\n\0\1\3", [[0, 85, 255]]),
        (b"P5 2 1 65535\n\1\0\xff\xff", [[1, 255]]),
        (b"P5 2 1 1023\n\2\0\3\xff", [[128, 255]]),
        (b"P6 1 1 65535\n\x09\0\x09\xff\x09\0", [[9]]),
    ],
)
def test_numbers_of_ppm(data, pixels):
    assert read_rgb(data)[..., 0].tolist() == pixels


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"Pf 2 2 -1\n" + bytes(16), "floating-point"),
        (b"P5 2 2 255\n\1\2\3", "damaged"),
        (b"P6 2 2 254\n\1\2\3", "damaged"),
        (b"P2 2 2 255 1 2 3", "damaged"),
        (b"P2 2 1 255 1 300", "damaged"),
        (b"P2 2 1 255 1 -3", "damaged"),
        (b"P1 2 1 2 1", "damaged"),
        (b"P5 0 2 255\n", "damaged"),
        (b"P5 2 2 70000\n", "damaged"),
        (b"P5 99999999999 2 255\n", "damaged"),
        (b"P2 2 2 255 " + b"#\n" * 20_000 + b"1 2 3 4", "comments"),
    ],
)
def test_what_is_no_ppm(data, says):
    with pytest.raises(ImageError, match=says):
        read_rgb(data)


@pytest.mark.parametrize(
    "data",
    [
        gif(),
        colors("WEBP"),
        colors("WEBP", lossless=True),
        colors("BMP"),
        colors("PPM"),
        colors("TGA")[:-26],  # without its footer
        colors("TGA", compression="tga_rle")[:-26],
        saved(Image.fromarray(COLORS), "TIFF"),
        saved(Image.fromarray(COLORS), "TIFF", compression="tiff_lzw"),
        saved(Image.fromarray(COLORS), "TIFF", compression="tiff_adobe_deflate"),
    ],
    ids=["gif", "webp", "lossless webp", "bmp", "ppm", "tga", "tga with runs", "raw tiff", "lzw", "deflate"],
)
def test_every_cut_is_refused_or_leaves_all_pixels(data):
    whole, shown = read_rgb(data), 0
    for end in sorted({*range(0, len(data), max(1, len(data) // 150)), *range(len(data) - 20, len(data))}):
        try:
            assert np.array_equal(read_rgb(data[:end]), whole), end
            shown += 1
        except ImageError:
            continue
    assert shown < 12


@pytest.mark.slow
@pytest.mark.parametrize(
    "form", [pytest.param("AVIF", marks=needs_avif), pytest.param("JPEG2000", marks=needs_jpeg2000)]
)
def test_cut_in_a_process_of_its_own(form):
    data = colors(form)
    for end in range(100, len(data) - 1, len(data) // 12):
        with pytest.raises(ImageError):
            read_rgb(data[:end])


def test_heic_is_upright_on_white_and_in_8_bits():
    right = np.where(np.arange(64) < 32, 0, 255)[None, :, None] * np.ones((48, 1, 3))
    turned = Image.fromarray(right.astype(np.uint8))
    turned.getexif()[0x0112] = 6  # written as HEIC's own rotation
    image = read_rgb(saved(turned, "HEIF", quality=-1))
    assert image.shape == (64, 48, 3)
    assert far(image, np.rot90(right, -1)) < 2
    clear = saved(Image.new("RGBA", (64, 48), (200, 0, 0, 0)), "HEIF", quality=-1)
    assert far(read_rgb(clear), np.full((48, 64, 3), 255)) < 2
    deep = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21)
    values = read_rgb(saved(deep, "HEIF", quality=-1))
    assert values.dtype == np.uint8
    assert far(values[..., 0], np.asarray(deep) >> 8) < 2


def test_heic_is_decoded_within_the_limits():
    data = colors("HEIF")
    for limits in (Limits(pixels=3000), Limits(side=50)):
        with pytest.raises(ImageTooLargeError, match="64x48"):
            read_rgb(data, limits=limits)
    with pytest.raises(ImageTooLargeError, match="GiB"):
        read_rgb(data, limits=Limits(memory=20_000))
    for cut in (20, 200, len(data) - 100):
        with pytest.raises(ImageError, match=r"^photo: damaged"):
            read_rgb(data[:cut], "photo")

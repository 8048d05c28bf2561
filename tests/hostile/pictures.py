"""Small image files that ask for much memory or time, or start a program, if a reader lets them.

`CASES` holds a function for each that returns the file's bytes, always the same. What reads them has to refuse them
in one line, or to read them within 10 s of processor time and 2 GiB.
"""

import io
import lzma
import random
import struct
import zlib
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any, TypeAlias

from PIL import Image, features

CASES: dict[str, Callable[[], bytes]] = {}
Entry: TypeAlias = tuple[int, int, int, bytes]  # of a TIFF directory: tag, type, count, values


def case(name: str) -> Callable[[Callable[[], bytes]], Callable[[], bytes]]:
    """Put a function into `CASES` under the file's name, whose suffix is what a user would see."""

    def add(build: Callable[[], bytes]) -> Callable[[], bytes]:
        CASES[name] = build
        return build

    return add


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    """Return an image as a file."""
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    """Return a good RGB image."""
    image = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (image, image.rotate(180), image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))


# JPEG


def segment(marker: int, payload: bytes) -> bytes:
    """Return a JPEG segment."""
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload


def bits(text: str) -> bytes:
    """Return a scan's bits, given as "0110", as bytes."""
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0") if text else b""


def jpeg(frame: int, width: int, height: int, scans: Iterable[bytes], channels: int = 1, before: bytes = b"") -> bytes:
    """Return a JPEG whose tables know one DC code, for no difference, and one AC code, for the end of many blocks."""
    parts = b"".join(bytes([i + 1, 0x11, 0]) for i in range(channels))
    one_code = bytes([1] + [0] * 15)
    return b"".join(
        [
            b"\xff\xd8",
            before,
            segment(0xDB, b"\0" + b"\1" * 64),
            segment(frame, struct.pack(">BHHB", 8, height, width, channels) + parts),
            segment(0xC4, b"\0" + one_code + b"\0"),
            segment(0xC4, b"\x10" + one_code + (b"\xe0" if frame == 0xC2 else b"\0")),
            *scans,
            b"\xff\xd9",
        ]
    )


def dc_scan(width: int, height: int, channels: int = 1) -> bytes:
    """Return a progressive scan of all DC coefficients, all 0."""
    blocks = -(-width // 8) * -(-height // 8) * channels
    head = bytes([channels]) + b"".join(bytes([i + 1, 0]) for i in range(channels)) + bytes(3)
    return segment(0xDA, head) + bits("0" * blocks)


def empty_scan(width: int, height: int) -> bytes:
    """Return a progressive scan in which every block ends at once."""
    blocks, codes = -(-width // 8) * -(-height // 8), ""
    while blocks > 0:
        run = max(min(blocks, 32767), 16384)
        codes += "0" + format(run - 16384, "014b")
        blocks -= run
    return segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + bits(codes)


@case("scans.jpg")
def _scans() -> bytes:
    return jpeg(0xC2, 4000, 4000, [dc_scan(4000, 4000), empty_scan(4000, 4000) * 20_000])


@case("scans-without-data.jpg")
def _scans_without_data() -> bytes:
    scan = segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 0, 0]))
    return jpeg(0xC2, 16_000, 11_000, [scan * 30_000], channels=3)


@case("sequential-scans.jpg")
def _sequential_scans() -> bytes:
    scan = segment(0xDA, bytes([1, 1, 0, 0, 63, 0]))
    return jpeg(0xC1, 16_000, 11_000, [scan * 30_000], channels=3)


@case("a-hundred-scans.jpg")
def _hundred_scans() -> bytes:
    scan = segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 0, 0]))
    return jpeg(0xC2, 16_000, 11_000, [scan * 100], channels=3)


@case("arithmetic.jpg")
def _arithmetic() -> bytes:
    scan = segment(0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0]))
    return jpeg(0xC9, 16_000, 11_000, [scan * 90], channels=3)


@case("tall-and-wide.jpg")
def _large_jpeg() -> bytes:
    return jpeg(0xC0, 65_500, 65_500, [segment(0xDA, bytes([1, 1, 0, 0, 63, 0]))])


@case("pieces-of-exif.jpg")
def _pieces_of_exif() -> bytes:
    return good_jpeg(segment(0xE1, b"Exif\0\0" + b"x" * 6) * 300_000)


@case("tags-of-exif.jpg")
def _tags_of_exif() -> bytes:
    return good_jpeg(segment(0xE1, b"Exif\0\0" + exif(5000, 65_000)))


@case("tags-in-pieces-of-exif.jpg")
def _tags_in_pieces() -> bytes:
    whole = exif(65_000, 4_000_000)
    pieces = (whole[at : at + 65_000] for at in range(0, len(whole), 65_000))
    return good_jpeg(b"".join(segment(0xE1, b"Exif\0\0" + piece) for piece in pieces))


@case("comments.jpg")
def _comments() -> bytes:
    return good_jpeg(segment(0xFE, b"") * 5_000_000)


@case("fill-bytes.jpg")
def _fill_bytes() -> bytes:
    return good_jpeg(b"\xff" * 20_000_000)


@case("tables.jpg")
def _tables() -> bytes:
    return good_jpeg(segment(0xDB, (b"\0" + b"\1" * 64) * 1000) * 300)


@case("profile.jpg")
def _profile() -> bytes:
    return good_jpeg(b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes([i, 255]) + bytes(60_000)) for i in range(1, 256)))


@case("pictures.jpg")
def _multi_picture() -> bytes:
    index = b"II*\0\x08\0\0\0" + directory(
        [(0xB001, 4, 1, struct.pack("<I", 2**32 - 1)), (0xB002, 7, 16, bytes(16))], 8
    )
    return good_jpeg(segment(0xE2, b"MPF\0" + index))


@case("resources.jpg")
def _photoshop() -> bytes:
    blocks = b"".join(b"8BIM" + struct.pack(">HBBI", i, 0, 0, 0) for i in range(5000))
    return good_jpeg(segment(0xED, b"Photoshop 3.0\0" + blocks) * 300)


def good_jpeg(before: bytes) -> bytes:
    """Return a good JPEG with something before its first segment."""
    data = saved(gradient(), "JPEG")
    return data[:2] + before + data[2:]


def exif(tags: int, size: int) -> bytes:
    """Return EXIF of so many bytes in which each tag claims almost all of them."""
    place = 10 + 12 * tags
    entries = b"".join(struct.pack("<HHII", tag, 7, max(size - place, 5), place) for tag in range(tags))
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", tags) + entries).ljust(size, b"\0")


# PNG


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int, height: int, pixels: bytes, *, depth: int = 8, color: int = 0, before: bytes = b"", after: bytes = b""
) -> bytes:
    """Return a PNG of these packed bytes; `before` and `after` are chunks around them."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    ends = chunk(b"IHDR", header) + before, after + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + ends[0] + chunk(b"IDAT", pixels) + ends[1]


def zeros(count: int) -> bytes:
    """Return `count` zeros as zlib packs them, without packing them all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    million = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = zlib.compressobj(9, zlib.DEFLATED, -15)
    end = rest.compress(bytes(count % (1 << 20))) + rest.flush()
    return b"\x78\xda" + million * (count >> 20) + end + struct.pack(">HH", count % 65521, 1)


def small_png(before: bytes = b"", after: bytes = b"") -> bytes:
    """Return a good PNG of 8 x 8 with these chunks around its pixels."""
    return png(8, 8, zeros(72), before=before, after=after)


@case("wide.png")
def _wide() -> bytes:
    return png(16_000_000, 1, zeros(16_000_001))


@case("large.png")
def _large_png() -> bytes:
    return png(65_500, 65_500, zeros(8_189 * 65_500), depth=1)


@case("many-pixels.png")
def _many_pixels() -> bytes:
    return png(13_000, 13_000, zeros(13_000 * 13_000 * 4 + 13_000), color=6)


@case("deep-pixels.png")
def _deep_pixels() -> bytes:
    return png(13_000, 13_000, zeros(13_000 * 13_000 * 8 + 13_000), color=6, depth=16)


@case("text.png")
def _text() -> bytes:
    text = chunk(b"zTXt", b"Comment\0\0" + zeros(1 << 20))
    return small_png(text * 60, text * 3000)


@case("international-text.png")
def _international_text() -> bytes:
    packed = zlib.compress(b"a" * (64 << 20), 9)
    return small_png(b"".join(chunk(b"iTXt", b"%d\0\1\0\0\0" % i + packed) for i in range(20)))


@case("profiles.png")
def _profiles() -> bytes:
    profile = chunk(b"iCCP", b"p\0\0" + zeros(1 << 20))
    return small_png(profile * 10_000, profile * 10_000)


@case("exif-as-text.png")
def _exif_as_text() -> bytes:
    text = b"\nexif\n 1048576\n" + b"00" * (1 << 19)
    return small_png(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text, 9)) * 10_000)


@case("exif.png")
def _exif_png() -> bytes:
    return small_png(chunk(b"eXIf", exif(65_000, 4_000_000)))


@case("chunks.png")
def _chunks() -> bytes:
    return small_png(chunk(b"teST", b"") * 2_000_000)


@case("chunks-of-pixels.png")
def _chunks_of_pixels() -> bytes:
    return small_png(chunk(b"IDAT", b"") * 2_000_000)


@case("frames.png")
def _frames_png() -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 1, 0, 0)
    frames = b"".join(
        chunk(b"fcTL", struct.pack(">I", 2 * i + 1) + control[4:])
        + chunk(b"fdAT", struct.pack(">I", 2 * i + 2) + zlib.compress(bytes(72)))
        for i in range(100_000)
    )
    return small_png(chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)) + chunk(b"fcTL", control), frames)


# TIFF


def directory(entries: Iterable[Entry], start: int, following: int = 0) -> bytes:
    """Return a little-endian TIFF directory for a place in the file, its longer values behind it."""
    entries = list(entries)
    place, values = start + 6 + 12 * len(entries), b""
    listed = struct.pack("<H", len(entries))
    for tag, kind, count, value in entries:
        if len(value) > 4:
            listed += struct.pack("<HHII", tag, kind, count, place + len(values))
            values += value
        else:
            listed += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    return listed + struct.pack("<I", following) + values


def longs(tag: int, *values: int) -> Entry:
    """Return an entry of LONGs."""
    return tag, 4, len(values), struct.pack(f"<{len(values)}I", *values)


def tiff(entries: Iterable[Entry], pixels: bytes) -> bytes:
    """Return a TIFF; its pixels begin at byte 8."""
    start = 8 + len(pixels)
    return b"II*\0" + struct.pack("<I", start) + pixels + directory(sorted(entries), start)


def gray_tiff(width: int, height: int, *entries: Entry, compression: int = 8, pixels: bytes = b"") -> bytes:
    """Return a TIFF of 8-bit gray, whose strips or tiles are still to be given."""
    base = [longs(256, width), longs(257, height), longs(258, 8), longs(259, compression), longs(262, 1)]
    return tiff([*base, *entries], pixels)


@case("tile.tif")
def _tile() -> bytes:
    packed = zeros(20_000 * 20_000)
    tile = (longs(322, 20_000), longs(323, 20_000), longs(324, 8), longs(325, len(packed)))
    return gray_tiff(64, 64, *tile, pixels=packed)


@case("endless-tile.tif")
def _endless_tile() -> bytes:
    return gray_tiff(64, 64, longs(322, 2**31), longs(323, 2**31), longs(324, 8), longs(325, 8), pixels=bytes(8))


@case("small-tiles.tif")
def _small_tiles() -> bytes:
    count = 20_000_000 // 4
    tile = (longs(322, 1), longs(323, 1), longs(324, *[8] * count), longs(325, *[1] * count))
    return gray_tiff(2000, 2500, *tile, compression=1, pixels=bytes(8))


@case("needless-strips.tif")
def _needless_strips() -> bytes:
    strips = (longs(273, *[8] * 5_000_000), longs(278, 1), longs(279, *[64] * 5_000_000))
    return gray_tiff(64, 64, *strips, compression=1, pixels=bytes(64))


@case("overlapping-strips.tif")
def _overlapping_strips() -> bytes:
    packed = zlib.compress(random.Random(1).randbytes(8_000_000), 0)
    strips = (longs(266, 2), longs(273, *[8] * 65_500), longs(278, 1), longs(279, *[len(packed)] * 65_500))
    return gray_tiff(64, 65_500, *strips, pixels=packed)


@case("directories.tif")
def _directories() -> bytes:
    entries = [longs(256, 8), longs(257, 8), longs(258, 8), longs(259, 1), longs(262, 1), longs(273, 8), longs(279, 64)]
    size = len(directory(entries, 0))
    listed = (directory(entries, 72 + i * size, 72 + (i + 1) * size) for i in range(100_000))
    return b"II*\0" + struct.pack("<I", 72) + bytes(64) + b"".join(listed)


@case("tags.tif")
def _tags() -> bytes:
    place, size = 8, 4_000_000
    more = [(tag, 7, size, struct.pack("<I", place)) for tag in range(40_000, 44_000)]
    entries = [longs(256, 8), longs(257, 8), longs(258, 8), longs(259, 1), longs(262, 1), longs(273, 8), longs(279, 64)]
    return tiff([*entries, *more], bytes(size))


@case("tags-of-exif.tif")
def _tags_of_exif_tiff() -> bytes:
    size, tags = 4_000_000, 4000
    inner = [(tag, 7, size, struct.pack("<I", 8)) for tag in range(tags)]
    listed = directory(inner, 8 + size)
    strip = (longs(273, 8), longs(278, 8), longs(279, 64), longs(34665, 8 + size))
    return gray_tiff(8, 8, *strip, compression=1, pixels=bytes(size) + listed)


@case("scans.tif")
def _scans_tiff() -> bytes:
    side = 8000
    data = jpeg(0xC2, side, side, [dc_scan(side, side), empty_scan(side, side) * 20_000])
    return gray_tiff(side, side, longs(273, 8), longs(278, side), longs(279, len(data)), compression=7, pixels=data)


@case("arithmetic.tif")
def _arithmetic_tiff() -> bytes:
    data = jpeg(0xC9, 13_000, 13_000, [segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) * 90])
    strip = (longs(273, 8), longs(278, 13_000), longs(279, len(data)))
    return gray_tiff(13_000, 13_000, *strip, compression=7, pixels=data)


@case("dictionary.tif")
def _dictionary() -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(bytes(64), format=lzma.FORMAT_XZ, filters=filters))
    at = data.index(b"\x21\x01") + 2  # the filter's property: the size of its dictionary
    data[at] = 40  # 4 GiB - 1
    data[20:24] = struct.pack("<I", zlib.crc32(data[12:20]))
    strip = (longs(273, 8), longs(278, 8), longs(279, len(data)))
    return gray_tiff(8, 8, *strip, compression=34925, pixels=bytes(data))


@case("a-hundred-megapixels.tif")
def _hundred_megapixels() -> bytes:
    packed = zeros(10_000 * 10_000)
    return gray_tiff(10_000, 10_000, longs(273, 8), longs(278, 10_000), longs(279, len(packed)), pixels=packed)


@case("one-strip.tif")
def _one_strip() -> bytes:
    side = 13_300
    packed = zeros(side * side * 8)
    base = [longs(256, side), longs(257, side), (258, 3, 4, struct.pack("<4H", 16, 16, 16, 16)), longs(259, 8)]
    strip = [longs(262, 2), longs(273, 8), longs(277, 4), longs(278, side), longs(279, len(packed)), longs(338, 2)]
    return tiff([*base, *strip], packed)


# GIF, WebP, BMP, PPM


@case("comments.gif")
def _comments_gif() -> bytes:
    data = saved(gradient().convert("P"), "GIF")
    place = 13 + (3 << (data[10] & 7) + 1)
    return data[:place] + b"\x21\xfe" + (b"\xff" + b"c" * 255) * 40_000 + b"\0" + data[place:]


@case("screen.gif")
def _screen() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + gif_frame(0, 0, 1, 1) + b";"


@case("beyond-the-screen.gif")
def _beyond() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + gif_frame(65_000, 65_000, 535, 535) + b";"


@case("frames.gif")
def _frames_gif() -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0) + gif_frame(0, 0, 1, 1) * 500_000 + b";"


def gif_frame(left: int, top: int, width: int, height: int) -> bytes:
    """Return a frame of a GIF with one pixel's code in it."""
    return b"," + struct.pack("<HHHHB", left, top, width, height, 0) + b"\x02\x02\x4c\x01\0"


@case("canvas.webp")
def _canvas() -> bytes:
    still = saved(gradient(), "WEBP")[12:]
    body = (
        b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + (2**24 - 1).to_bytes(3, "little") + (199).to_bytes(3, "little")
    )
    return b"RIFF" + struct.pack("<I", len(body) + len(still)) + body + still


@case("canvas-of-frames.webp")
def _canvas_of_frames() -> bytes:
    still = saved(gradient(), "WEBP")[12:]
    side = (12_999).to_bytes(3, "little")
    frame = bytes(6) + (63).to_bytes(3, "little") + (47).to_bytes(3, "little") + bytes(4) + still
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + side + side + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    body += (b"ANMF" + struct.pack("<I", len(frame)) + frame) * 2000
    return b"RIFF" + struct.pack("<I", len(body)) + body


@case("runs.bmp")
def _runs() -> bytes:
    header = struct.pack("<IiiHHIIIIII", 40, 12_000, 12_000, 1, 8, 1, 0, 0, 0, 256, 0)
    palette = b"".join(bytes([i, 0, 255 - i, 0]) for i in range(256))
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + header + palette + b"\1\7" * 2_000_000


@case("large.bmp")
def _large_bmp() -> bytes:
    header = struct.pack("<IiiHHIIIIII", 40, 2**31 - 1, -(2**31) + 1, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + header


@case("comments.ppm")
def _comments_ppm() -> bytes:
    return b"P3\n64 64\n255\n" + b"#\n" * 4_000_000 + b"0 " * 64 * 64 * 3


@case("comment-in-header.ppm")
def _comment_in_header() -> bytes:
    return b"P6\n#" + b"c" * 30_000_000 + b"\n64 64\n255\n" + bytes(64 * 64 * 3)


@case("odd-values.ppm")
def _odd_values() -> bytes:
    return b"P6\n4000 3000\n254\n" + bytes(4000 * 3000 * 3)


@case("numbers.pgm")
def _numbers() -> bytes:
    return b"P2\n4000 3000\n255\n" + b"1 " * 4000 * 3000


# AVIF, HEIC and JPEG 2000

if features.check("avif"):

    @case("claims.avif")
    def _claims() -> bytes:
        data = saved(gradient(), "AVIF", speed=10)
        at = data.index(b"ispe") + 8
        return data[:at] + struct.pack(">II", 30_000, 30_000) + data[at + 8 :]

    @case("sequence.avif")
    def _sequence() -> bytes:
        frames = [gradient().rotate(i) for i in range(40)]
        return saved(frames[0], "AVIF", save_all=True, append_images=frames[1:], speed=10)


if find_spec("pillow_heif") is not None:

    @case("claims.heic")
    def _claims_heic() -> bytes:
        from pillow_heif import register_heif_opener

        register_heif_opener()
        data = saved(gradient(), "HEIF")
        at = data.index(b"ispe") + 8
        return data[:at] + struct.pack(">II", 30_000, 30_000) + data[at + 8 :]


if features.check("jpg_2000"):

    def coded(**options: Any) -> bytes:
        """Return a JPEG 2000 codestream of 1024 x 1024."""
        return saved(gradient(1024, 1024), "JPEG2000", no_jp2=True, **options)

    def style(data: bytes) -> int:
        """Return where the coding style's fields begin, its flags first."""
        return data.index(b"\xff\x52") + 4

    @case("layers.jp2")
    def _layers() -> bytes:
        data = coded(precinct_size=(32, 32))
        at = style(data) + 2
        return data[:at] + struct.pack(">H", 65_535) + data[at + 2 :]

    @case("precincts.jp2")
    def _precincts() -> bytes:
        data = bytearray(coded(precinct_size=(128, 128)))
        at = style(data)
        assert data[at] & 1
        levels = data[at + 5] + 1
        data[at + 10 : at + 10 + levels] = b"\x11" * levels
        return bytes(data)

    @case("precincts-and-layers.jp2")
    def _precincts_and_layers() -> bytes:
        data = bytearray(_precincts())
        at = style(data) + 2
        data[at : at + 2] = struct.pack(">H", 65_535)
        return bytes(data)

    @case("claims.jp2")
    def _claims_jp2() -> bytes:
        data = bytearray(coded())
        at = data.index(b"\xff\x51") + 6
        data[at : at + 8] = struct.pack(">II", 60_000, 60_000)
        data[at + 16 : at + 24] = struct.pack(">II", 60_000, 60_000)
        return bytes(data)

    @case("tiles.jp2")
    def _tiles_jp2() -> bytes:
        data = bytearray(coded())
        at = data.index(b"\xff\x51") + 22
        data[at : at + 8] = struct.pack(">II", 8, 8)
        return bytes(data)


# What is no image: some of Pillow's readers start programs, or read other files.


@case("program.jpg")
def _postscript() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"


@case("program-in-dos.jpg")
def _postscript_in_dos() -> bytes:
    body = _postscript()
    return b"\xc5\xd0\xd3\xc6" + struct.pack("<IIIIII", 32, len(body), 0, 0, 0, 0) + bytes(4) + body


@case("icon.png")
def _icon() -> bytes:
    inner = _large_png()
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22) + inner


@case("icons.png")
def _icons() -> bytes:
    inner = _large_png()
    return b"icns" + struct.pack(">I", len(inner) + 16) + b"ic10" + struct.pack(">I", len(inner) + 8) + inner


@case("drawing.png")
def _drawing() -> bytes:
    return b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9999" height="9999"/>'


@case("other.png")
def _other() -> bytes:
    return b"SIMPLE  =                    T" + b" " * 50 + b"END".ljust(2800)

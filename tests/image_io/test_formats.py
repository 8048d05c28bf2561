import io
import sys

import pytest
from PIL import Image, features

from atrous.image_io._formats import HEAD, format_of, reads_heif
from atrous.image_io.base import UnknownFormatError
from atrous.image_io.decode import IMAGE_SUFFIXES


def box(brand, *compatible):
    content = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return (len(content) + 4).to_bytes(4, "big") + content


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"GIF87a", "GIF"),
        (b"GIF89a", "GIF"),
        (b"RIFF\0\0\0\0WEBPVP8X", "WEBP"),
        (b"II*\0", "TIFF"),
        (b"MM\0+", "TIFF"),
        (b"BM", "BMP"),
        (b"P6\n1 1", "PPM"),
        (b"\0\0\2" + bytes(9) + b"\7\0\5\0\x18\0", "TGA"),
        (b"\x0c\1\x09\0\0\x40\0\x18" + bytes(4) + b"\7\0\5\0\x08\0", "TGA"),
        (box(b"avif"), "AVIF"),
        (box(b"mif1", b"miaf", b"avif"), "AVIF"),
        (box(b"heic", b"mif1"), "HEIF"),
        (box(b"mif1", b"heic"), "HEIF"),
        (b"\xff\x4f\xff\x51", "JPEG2000"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    ],
)
def test_formats_by_their_first_bytes(head, form, monkeypatch):
    monkeypatch.setattr("atrous.image_io._formats.reads_heif", lambda: True)
    assert format_of(head, "x") == form


def test_every_suffix_stands_for_a_format_that_is_read():
    Image.init()
    if reads_heif():
        import pillow_heif

        pillow_heif.register_heif_opener()
    for suffix in IMAGE_SUFFIXES:
        form = Image.EXTENSION[suffix]
        if form == "AVIF" and not features.check("avif"):
            continue
        sink = io.BytesIO()
        Image.new("RGB", (32, 32)).save(sink, form)
        assert format_of(sink.getvalue()[:HEAD], "x") == form


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (box(b"isom", b"mp42"), "a video"),
        (b"%!PS-Adobe", "PostScript"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS", "Photoshop"),
        (b"\0\0\1\0\1\0", "icon"),
        (b"\0\0\2\0\1\0\x20\x20\0\0\5\0\7\0" + bytes(2) + b"\x20\0", "icon"),
        (b"<!DOCTYPE html>", "web page"),
        (b"  <svg", "SVG"),
        (b"PK\3\4", "ZIP"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"hello", "an unknown format"),
    ],
)
def test_what_else_a_file_is(head, what):
    with pytest.raises(UnknownFormatError, match=f"photo.jpg: expected a JPEG, .*, got .*{what}"):
        format_of(head, "photo.jpg")


def test_an_empty_file():
    with pytest.raises(UnknownFormatError, match="empty"):
        format_of(b"", "photo.jpg")


def test_heic_without_its_decoder_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert not reads_heif()
    with pytest.raises(UnknownFormatError, match=r"photo.heic: a HEIC image.*extra 'heif'"):
        format_of(box(b"heic", b"mif1"), "photo.heic")
    with pytest.raises(UnknownFormatError, match="expected a PNG image, got a HEIC image"):
        format_of(box(b"heic", b"mif1"), "mask.png", ["PNG"])

import ast
import contextlib
import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import atrous
from atrous.errors import InputError
from atrous.image_io.base import ImageError, ImageTooLargeError, Limits, UnknownFormatError
from atrous.image_io.decode import decode, read_rgb, stored_size
from atrous.labelmap.color_table import ColorTable

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
PACKAGE = Path(atrous.__file__).parent


def saved(form="PNG", image=None, **options):
    sink = io.BytesIO()
    (Image.fromarray(PIXELS) if image is None else image).save(sink, form, **options)
    return sink.getvalue()


def test_paths_bytes_and_files_give_the_same(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(saved())
    for source in (path, str(path), saved(), io.BytesIO(saved())):
        assert np.array_equal(read_rgb(source), PIXELS)
    with path.open("rb") as file:
        assert np.array_equal(read_rgb(file), PIXELS)
    assert stored_size(path) == (7, 5)


def test_the_name_is_the_path_or_what_the_caller_says(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("no image")
    for source, name, shown in ((path, None, f"{path}: "), (path, "mine", "mine: "), (b"no image", None, "image: ")):
        with pytest.raises(UnknownFormatError) as caught:
            read_rgb(source, name)
        assert str(caught.value).startswith(shown)
        assert str(caught.value) == shown + caught.value.reason
    with pytest.raises(UnknownFormatError) as caught:
        read_rgb(b"no image", "")
    assert str(caught.value) == caught.value.reason


def test_an_error_survives_the_way_to_another_process():
    import pickle

    error = pickle.loads(pickle.dumps(ImageTooLargeError("a.png", "too large")))
    assert (type(error), error.name, error.reason) == (ImageTooLargeError, "a.png", "too large")


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(pixels=34), "at most 3.4e-05 million pixels, got 7x5"),
        (Limits(side=6), "at most 6 pixels, got 7x5"),
        (Limits(memory=200), "GiB"),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA"])
def test_limits_hold_for_every_format(form, limits, says):
    with pytest.raises(ImageTooLargeError, match=says):
        read_rgb(saved(form), limits=limits)
    if limits.pixels == 34:
        with pytest.raises(ImageTooLargeError):
            stored_size(saved(form), limits=limits)


def test_a_caller_may_take_some_formats_only():
    assert decode(saved(), formats=("PNG",)).image.size == (7, 5)
    with pytest.raises(UnknownFormatError, match="GIF"):
        decode(saved("GIF"), formats=("PNG",))
    with pytest.raises(UnknownFormatError, match="got GIF"):
        stored_size(saved("GIF"), formats=("PNG",))


def test_what_cannot_be_opened(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name, says in (("missing.png", "No such file"), ("folder.png", r"directory|denied")):
        with pytest.raises(InputError, match=f"{name}: .*({says})"):
            read_rgb(tmp_path / name)
    with pytest.raises(InputError, match="null"):
        read_rgb(tmp_path / "a\0b.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    writer = threading.Thread(target=(tmp_path / "pipe.png").write_bytes, args=(saved(),))
    writer.start()
    assert np.array_equal(read_rgb(tmp_path / "pipe.png"), PIXELS)
    writer.join()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_without_an_end(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")

    def write():
        with contextlib.suppress(BrokenPipeError), (tmp_path / "pipe.png").open("wb") as pipe:
            pipe.write(saved())
            while True:
                pipe.write(bytes(1 << 16))

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(ImageTooLargeError, match="a file of at most"):
        read_rgb(tmp_path / "pipe.png", limits=Limits(memory=1 << 20))
    writer.join()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no endless file here")
def test_of_a_device_no_more_than_the_head_is_read():
    with pytest.raises(UnknownFormatError):
        read_rgb("/dev/zero", limits=Limits(memory=1 << 62))


def test_a_palette_image_without_a_palette(tmp_path):
    sink = io.BytesIO()
    Image.new("P", (9, 6)).save(sink, "PNG")
    content = sink.getvalue()
    start = content.index(b"PLTE") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    (tmp_path / "a.png").write_bytes(content[:start] + content[end:])
    with pytest.raises(ImageError, match="no palette"):
        read_rgb(tmp_path / "a.png")
    with pytest.raises(ImageError, match="no palette"):
        ColorTable((0, 1), ((0, 0, 0), (9, 9, 9))).read_labels(tmp_path / "a.png")


def test_a_file_larger_than_memory_is_not_read(tmp_path):
    with (tmp_path / "large.png").open("wb") as file:
        file.write(saved())
        file.truncate(1 << 40)  # a hole
    with pytest.raises(ImageTooLargeError, match="got 1.02e"):
        read_rgb(tmp_path / "large.png")


def test_the_caller_s_own_limit_of_pillow_holds(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ImageTooLargeError, match="million pixels"):
        read_rgb(saved())


def test_memory_that_is_short(monkeypatch):
    def fail(self):
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", fail)
    with pytest.raises(ImageTooLargeError, match="not enough memory"):
        read_rgb(saved())


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "PPM", "TGA"])
def test_half_of_pillow_s_limit_is_no_warning(recwarn, monkeypatch, form):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    assert np.array_equal(read_rgb(saved(form)), PIXELS)
    assert not recwarn


def test_no_other_module_opens_images():
    opening = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("Image.open", "PillowImage.open"):
                opening.append(path.relative_to(PACKAGE).as_posix())
    assert opening == ["image_io/_pillow.py"]


def test_a_strange_name_of_a_format_is_never_asked_for(monkeypatch):
    asked = []
    real = Image.open
    monkeypatch.setattr(
        Image, "open", lambda *args, formats=None, **options: asked.append(formats) or real(*args, formats=formats)
    )
    read_rgb(saved())
    with pytest.raises(UnknownFormatError, match="got PostScript"):
        read_rgb(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert asked == [("PNG",)]

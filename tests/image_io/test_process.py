import io
import os
import sys

import numpy as np
import pytest
from PIL import Image

from atrous.errors import InputError
from atrous.image_io import process
from atrous.image_io.decode import read_rgb
from atrous.image_io.errors import ImageError, ImageTooLargeError
from atrous.image_io.limits import Limits

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)

limits_memory = pytest.mark.skipif(sys.platform != "linux", reason="no limit on a process' memory here")


def saved(form="PNG", image=None, **options):
    sink = io.BytesIO()
    (Image.fromarray(NOISE) if image is None else image).save(sink, form, **options)
    return sink.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_the_same_pixels_as_in_this_process(mode):
    if mode == "I;16":
        image = Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60) * 27)
    else:
        image = Image.fromarray(NOISE).convert(mode)
    data = saved(image=image)
    assert np.array_equal(read_rgb(data, isolated=True), read_rgb(data))


def test_orientation_transparency_and_inks():
    exif = Image.Exif()
    exif[0x0112] = 8
    data = saved("JPEG", exif=exif)
    assert np.array_equal(read_rgb(data, isolated=True), read_rgb(data))
    transparent = saved("GIF", image=Image.fromarray(NOISE).quantize(8), transparency=3)
    assert np.array_equal(read_rgb(transparent, isolated=True), read_rgb(transparent))
    inks = saved("TIFF", image=Image.fromarray(NOISE).convert("CMYK"))
    assert np.array_equal(read_rgb(inks, isolated=True), read_rgb(inks))


def test_errors_come_back_as_they_are():
    with pytest.raises(ImageError, match=r"^photo: damaged or cut short \("):
        read_rgb(saved("JPEG")[:-200], "photo", isolated=True)
    with pytest.raises(ImageTooLargeError, match="got 60x40"):
        read_rgb(saved("JPEG2000"), limits=Limits(pixels=2000))


@limits_memory
def test_memory_is_limited():
    image = Image.new("RGB", (3000, 3000))
    data = saved("JPEG2000", image=image)
    assert read_rgb(data).shape == (3000, 3000, 3)
    with pytest.raises(ImageTooLargeError, match="GiB"):
        read_rgb(data, limits=Limits(memory=150_000_000))


@limits_memory
def test_a_decoder_that_takes_more_than_was_foreseen(monkeypatch):
    from atrous.image_io import decode

    monkeypatch.setitem(decode._PREPARE, "JPEG2000", lambda data, _: decode.Prepared("JPEG2000", data, isolated=True))
    with pytest.raises(ImageTooLargeError, match="takes more than"):
        read_rgb(saved("JPEG2000", image=Image.new("RGB", (3000, 3000))), limits=Limits(memory=100_000_000))


@pytest.mark.skipif(os.name != "posix", reason="no limit on processor time here")
def test_time_is_limited(tmp_path, monkeypatch):
    endless = tmp_path / "worker.py"
    endless.write_text(
        process._WORKER.read_text().replace("image, orientation =", "while True: pass\n        image, orientation =")
    )
    monkeypatch.setattr(process, "_WORKER", endless)
    with pytest.raises(ImageTooLargeError, match="takes more than 1 s"):
        read_rgb(saved("JPEG2000"), limits=Limits(seconds=0.5))


def test_a_process_that_waits_is_ended(tmp_path, monkeypatch):
    asleep = tmp_path / "worker.py"
    asleep.write_text("import time\ntime.sleep(1000)\n")
    monkeypatch.setattr(process, "_WORKER", asleep)
    monkeypatch.setattr(process, "_PATIENCE", 0.5)
    with pytest.raises(ImageTooLargeError, match="takes more than"):
        read_rgb(saved("JPEG2000"), limits=Limits(seconds=0.1))


def test_a_decoder_that_crashes(tmp_path, monkeypatch):
    crash = tmp_path / "worker.py"
    crash.write_text("import os\nos.abort()\n")
    monkeypatch.setattr(process, "_WORKER", crash)
    with pytest.raises(ImageError, match="damaged"):
        read_rgb(saved("JPEG2000"))


def test_without_an_interpreter_this_process_decodes(monkeypatch):
    data = saved("JPEG2000")
    monkeypatch.setattr(process.subprocess, "Popen", None)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert np.array_equal(read_rgb(data), NOISE)


def test_a_process_that_cannot_be_started(monkeypatch):
    def fail(*arguments, **options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(process.subprocess, "Popen", fail)
    with pytest.raises(InputError, match="Resource temporarily unavailable"):
        read_rgb(saved("JPEG2000"))

import io
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from atrous.errors import InputError
from atrous.image_io import process
from atrous.image_io.base import ImageError, ImageTooLargeError, Limits
from atrous.image_io.decode import read_rgb

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)

limits_memory = pytest.mark.skipif(sys.platform != "linux", reason="no limit on a process' memory here")


@pytest.fixture(autouse=True)
def _fresh_processes():
    """No process of another test decodes here, nor one of these elsewhere."""
    process.close_idle()
    yield
    process.close_idle()


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
    with pytest.raises(ImageError, match=r"^photo: damaged"):
        read_rgb(saved("JPEG")[:-200], "photo", isolated=True)
    with pytest.raises(ImageTooLargeError, match="got 60x40"):
        read_rgb(saved("JPEG2000"), limits=Limits(pixels=2000))


@limits_memory
def test_memory_is_limited():
    image = Image.new("RGB", (1000, 1000))
    data = saved("JPEG2000", image=image)
    assert read_rgb(data).shape == (1000, 1000, 3)
    with pytest.raises(ImageTooLargeError, match="GiB"):
        read_rgb(data, limits=Limits(memory=20_000_000))


@limits_memory
def test_a_decoder_that_takes_more_than_was_foreseen(tmp_path, monkeypatch):
    greedy = tmp_path / "worker.py"
    greedy.write_text(
        process._WORKER.read_text().replace("image, orientation =", "bytes(10**10)\n        image, orientation =")
    )
    monkeypatch.setattr(process, "_WORKER", greedy)
    with pytest.raises(ImageTooLargeError, match="takes more than 2 GiB"):
        read_rgb(saved("JPEG2000"))


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


def number_of_idle():
    (idle,) = process._idle
    return idle._process.pid


def test_one_process_decodes_many_images():
    data = saved("JPEG2000")
    assert np.array_equal(read_rgb(data), NOISE)
    number = number_of_idle()
    with pytest.raises(ImageError, match="damaged"):
        read_rgb(data[:-200])
    assert np.array_equal(read_rgb(data), NOISE)
    assert number_of_idle() == number


def test_threads_have_processes_of_their_own():
    data = saved("JPEG2000")
    with ThreadPoolExecutor(3) as pool:
        assert all(np.array_equal(image, NOISE) for image in pool.map(read_rgb, [data] * 9))
    assert 1 <= len(process._idle) <= 3


def test_a_process_that_ended_while_it_waited_is_replaced():
    data = saved("JPEG2000")
    read_rgb(data)
    (waiting,) = process._idle
    waiting._process.kill()
    waiting._process.wait()
    assert np.array_equal(read_rgb(data), NOISE)
    assert process._idle != [waiting]


def test_a_process_that_decodes_can_be_killed(tmp_path, monkeypatch):
    slow = tmp_path / "worker.py"
    slow.write_text("import time; time.sleep(100)")
    monkeypatch.setattr(process, "_WORKER", slow)
    with ThreadPoolExecutor(1) as pool:
        decoding = pool.submit(read_rgb, saved("JPEG2000"))
        while not process._busy:
            time.sleep(0.01)
        process.kill_decoders()
        with pytest.raises(ImageError, match="the decoder ended"):
            decoding.result()
    assert not process._busy


@limits_memory
def test_a_process_that_has_taken_much_memory_ends(tmp_path, monkeypatch):
    frugal = tmp_path / "worker.py"
    frugal.write_text(process._WORKER.read_text().replace("_REUSE_LIMIT = 1 << 27", "_REUSE_LIMIT = 1"))
    monkeypatch.setattr(process, "_WORKER", frugal)
    assert np.array_equal(read_rgb(saved("JPEG2000")), NOISE)
    assert process._idle == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_has_processes_of_its_own():
    data = saved("JPEG2000")
    read_rgb(data)
    number = number_of_idle()
    pid = os.fork()
    if not pid:
        try:
            right = process._idle == [] and np.array_equal(read_rgb(data), NOISE) and number_of_idle() != number
            process.close_idle()
            os._exit(0 if right else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert np.array_equal(read_rgb(data), NOISE)
    assert number_of_idle() == number


def test_what_a_library_prints_is_damage_and_is_not_shown(capfd):
    data = bytearray(saved("TIFF", image=Image.fromarray(NOISE).convert("1"), compression="group4"))
    with Image.open(io.BytesIO(data)) as image:
        place = image.tag_v2[273][0]
    data[place + 20] ^= 0x55
    with pytest.raises(ImageError, match=r"damaged or cut short \(Fax4"):
        read_rgb(bytes(data))
    assert capfd.readouterr().err == ""


def test_nothing_is_left_when_the_interpreter_ends(tmp_path):
    (tmp_path / "photo.jp2").write_bytes(saved("JPEG2000"))
    code = "import sys; from atrous.image_io.decode import read_rgb; from atrous.image_io import process;"
    code += "read_rgb(sys.argv[1]); print(process._idle[0]._process.pid)"
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", code, tmp_path / "photo.jp2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    if os.name == "posix":
        with pytest.raises(ProcessLookupError):
            os.kill(int(done.stdout), 0)

"""Crafted images: none takes more than 2 GiB or hangs, and each that is refused is refused in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import CASES

LARGE = {
    "a-hundred-megapixels.tif",
    "many-pixels.png",
    "deep-pixels.png",
    "a-hundred-scans.jpg",
    "precincts.jp2",
    "precincts-and-layers.jp2",
}
READ = {
    *("tags-of-exif.jpg", "tags-in-pieces-of-exif.jpg", "fill-bytes.jpg", "profile.jpg", "pictures.jpg"),
    *("resources.jpg", "many-pixels.png", "deep-pixels.png", "text.png", "international-text.png", "profiles.png"),
    *("exif-as-text.png", "exif.png", "frames.png", "needless-strips.tif", "directories.tif", "tags.tif"),
    *("tags-of-exif.tif", "a-hundred-megapixels.tif", "comments.gif", "frames.gif", "odd-values.ppm", "numbers.pgm"),
    "sequence.avif",
}

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="peaks of memory are taken of forks")


@pytest.fixture(scope="module")
def reader():
    """A process that reads one file after the other in forks."""
    program = Path(__file__).with_name("forked_reader.py")
    with subprocess.Popen(
        [sys.executable, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        _, printed = process.communicate()
    assert printed == ""  # no library says anything beside the one line


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in CASES]
)
def test_within_memory_and_time(reader, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(CASES[name]())
    reader.stdin.write(f"{path}\n")
    reader.stdin.flush()
    ended = json.loads(reader.stdout.readline())
    assert ended["peak"] < 2.2 * 2**30
    assert ("shape" in ended) == (name in READ), ended
    if "error" in ended:
        assert ended["error"] in ("ImageError", "ImageTooLargeError", "UnknownFormatError")
        assert ended["message"].startswith(f"{path}: ")
        assert len(ended["message"].splitlines()) == 1

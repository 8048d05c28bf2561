import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from atrous.errors import InputError
from atrous.labelmap import read_labels, voc_palette, write_labels
from atrous.labelmap.png import SOFTWARE, is_label_map, label_png, made_here, stored_key


def test_the_first_colors_are_vocs():
    assert voc_palette(6).tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [0, 128, 0],
        [128, 128, 0],
        [0, 0, 128],
        [128, 0, 128],
    ]
    assert voc_palette()[255].tolist() == [224, 224, 192]
    assert voc_palette()[20].tolist() == [0, 64, 128]


def test_no_two_colors_are_the_same():
    assert len(np.unique(voc_palette(), axis=0)) == 256


@settings(max_examples=40, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_ids_survive_a_round_trip(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("labels") / "mask.png"
    write_labels(path, labels)
    assert np.array_equal(read_labels(path), labels)
    with Image.open(path) as image:
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((0, 0)) == tuple(voc_palette()[labels[0, 0]])


def test_a_given_palette_colors_its_ids_and_vocs_the_others(tmp_path):
    write_labels(tmp_path / "m.png", np.array([[0, 1, 255]], np.uint8), [(9, 9, 9), (1, 2, 3)])
    with Image.open(tmp_path / "m.png") as image:
        assert [image.convert("RGB").getpixel((x, 0)) for x in range(3)] == [(9, 9, 9), (1, 2, 3), (224, 224, 192)]


def test_gray_files_hold_ids_too(tmp_path):
    Image.fromarray(np.array([[3, 255]], np.uint8)).save(tmp_path / "gray.png")
    assert read_labels(tmp_path / "gray.png").tolist() == [[3, 255]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16", "1"])
def test_colors_are_no_ids(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "color.png")
    with pytest.raises(InputError, match="class ids"):
        read_labels(tmp_path / "color.png")


def test_a_jpeg_is_no_label_map(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "mask.jpg")
    with pytest.raises(InputError, match="PNG"):
        read_labels(tmp_path / "mask.jpg")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "expected an image, got an empty file"),
        (b"text", "expected a PNG image, got an unknown format"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "expected a PNG image, got a HEIC image.*convert it"),
    ],
)
def test_what_is_no_picture(tmp_path, content, says):
    (tmp_path / "mask.png").write_bytes(content)
    with pytest.raises(InputError, match=f"mask.png: {says}"):
        read_labels(tmp_path / "mask.png")


@pytest.mark.parametrize("labels", [np.zeros((2, 2)), np.zeros((2, 2, 3), np.uint8), np.zeros((0, 3), np.uint8)])
def test_only_label_maps_are_written(tmp_path, labels):
    with pytest.raises(InputError, match="uint8"):
        write_labels(tmp_path / "m.png", labels)
    assert list(tmp_path.iterdir()) == []


def test_our_own_files_are_told_from_others(tmp_path):
    write_labels(tmp_path / "ours.png", np.zeros((2, 2), np.uint8))
    Image.new("RGB", (4, 4)).save(tmp_path / "other.png")
    (tmp_path / "text.png").write_text("hello")
    assert [made_here(tmp_path / f"{n}.png") for n in ("ours", "other", "text")] == [True, False, False]


@pytest.mark.parametrize("bits", [2, 4])
def test_gray_of_few_bits_stands_for_shades_not_for_ids(tmp_path, bits):
    header = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0\x1b\x1b")), (b"IEND", b""))
    framed = (struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    (tmp_path / "mask.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(framed))
    with pytest.raises(InputError, match=f"got {bits}-bit gray"):
        read_labels(tmp_path / "mask.png")
    assert not is_label_map(tmp_path / "mask.png")


def test_palettes_of_few_bits_hold_ids(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8))
    image.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, 7, 7, 7])
    image.save(tmp_path / "mask.png", bits=2)
    assert read_labels(tmp_path / "mask.png").tolist() == [[0, 1, 2, 3]]
    assert is_label_map(tmp_path / "mask.png")


def test_a_label_map_with_a_changed_byte_is_refused(tmp_path):
    write_labels(tmp_path / "mask.png", np.random.default_rng(0).integers(0, 21, (40, 40), dtype=np.uint8))
    content = bytearray((tmp_path / "mask.png").read_bytes())
    content[content.index(b"IDAT") + 300] ^= 4
    (tmp_path / "mask.png").write_bytes(content)
    with pytest.raises(InputError, match="checksum"):
        read_labels(tmp_path / "mask.png")


def test_which_files_are_label_maps(tmp_path):
    images = {"gray": Image.new("L", (4, 4)), "color": Image.new("RGB", (4, 4)), "deep": Image.new("I;16", (4, 4))}
    for name, image in images.items():
        image.save(tmp_path / f"{name}.png")
    write_labels(tmp_path / "ids.png", np.zeros((2, 2), np.uint8))
    Image.new("L", (4, 4)).save(tmp_path / "photo.jpg")
    (tmp_path / "text.png").write_text("hello")
    found = [path.name for path in sorted(tmp_path.iterdir()) if is_label_map(path)]
    assert found == ["gray.png", "ids.png"]
    assert not is_label_map(tmp_path / "missing.png")


def test_overlays_and_masks_are_told_from_other_images(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8))
    noise.save(tmp_path / "ours.jpg", quality=92, subsampling=0, comment=SOFTWARE)
    noise.save(tmp_path / "other.jpg", quality=92, comment="somebody")
    assert made_here(tmp_path / "ours.jpg")
    assert not made_here(tmp_path / "other.jpg")
    assert not made_here(tmp_path / "missing.jpg")


def test_a_key_is_stored_beside_the_mark(tmp_path):
    ids = np.array([[0, 3]], np.uint8)
    (tmp_path / "keyed.png").write_bytes(label_png(ids, key="0123456789abcdef"))
    (tmp_path / "plain.png").write_bytes(label_png(ids))
    (tmp_path / "cut.png").write_bytes(label_png(ids, key="0123456789abcdef")[:60])
    found = {name: stored_key(tmp_path / f"{name}.png") for name in ("keyed", "plain", "cut", "missing")}
    assert found == {"keyed": "0123456789abcdef", "plain": None, "cut": None, "missing": None}
    assert made_here(tmp_path / "keyed.png")
    assert read_labels(tmp_path / "keyed.png").tolist() == ids.tolist()
    with Image.open(tmp_path / "keyed.png") as image:
        image.save(tmp_path / "again.png")
    assert stored_key(tmp_path / "again.png") is None


@pytest.mark.parametrize("length", [0, 5, 2**32 - 1])
def test_a_key_of_a_wrong_length_is_another_key(tmp_path, length):
    content = label_png(np.zeros((2, 2), np.uint8), key="0123456789abcdef")
    at = content.index(b"tEXtatrous-key") - 4
    (tmp_path / "m.png").write_bytes(content[:at] + length.to_bytes(4) + content[at + 4 :])
    assert stored_key(tmp_path / "m.png") not in (None, "0123456789abcdef")

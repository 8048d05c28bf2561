import io

import numpy as np
import pytest
from PIL import Image

from atrous.errors import InputError
from atrous.image_io.decode import read_image

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def saved(tmp_path, image, name="photo.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_colors_come_as_they_are(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(read_image(saved(tmp_path, Image.fromarray(pixels))), pixels)
    assert np.array_equal(read_image(Image.fromarray(pixels)), pixels)
    assert read_image(pixels) is pixels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_honored(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = {
        1: RAMP,
        2: RAMP[:, ::-1],
        3: RAMP[::-1, ::-1],
        4: RAMP[::-1],
        5: RAMP.T,
        6: np.rot90(RAMP, 1),
        7: RAMP[::-1, ::-1].T,
        8: np.rot90(RAMP, -1),
    }[orientation]
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    assert np.array_equal(read_image(path)[..., 0], RAMP)


def test_gray_gets_three_channels(tmp_path):
    image = read_image(saved(tmp_path, Image.fromarray(RAMP)))
    assert image.shape == (3, 4, 3)
    assert (image == RAMP[..., None]).all()


@pytest.mark.parametrize("name", ["gray.png", "gray.tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, name):
    deep = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    assert read_image(saved(tmp_path, Image.fromarray(deep), name))[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_one_bit(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.array([[True, False]])))
    assert read_image(path)[0, :, 1].tolist() == [255, 0]


def test_transparent_pixels_lie_on_white(tmp_path):
    pixels = np.array([[[200, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)
    image = read_image(saved(tmp_path, Image.fromarray(pixels)))
    assert image[0, 0].tolist() == [200, 0, 0]
    assert image[0, 1].tolist() == [255, 255, 255]
    assert abs(int(image[0, 2, 0]) - 127) <= 1


def test_a_transparent_palette_color_lies_on_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert read_image(saved(tmp_path, image, transparency=0))[0].tolist() == [[255, 255, 255], [40, 50, 60]]


@pytest.mark.parametrize("name", ["photo.jpg", "photo.tif"])
def test_cmyk(tmp_path, name):
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    pixel = read_image(saved(tmp_path, red, name))[8, 8].astype(int)
    assert abs(pixel - [255, 0, 0]).max() <= 3


def test_one_pixel(tmp_path):
    assert read_image(saved(tmp_path, Image.new("RGB", (1, 1), "red"))).tolist() == [[[255, 0, 0]]]


def test_a_damaged_orientation_does_no_harm(tmp_path):
    path = saved(tmp_path, Image.new("RGB", (8, 8)), "photo.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_image(path).shape == (8, 8, 3)


def bad_files(tmp_path):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for format_ in ("JPEG", "PNG"):
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, format_)
        (tmp_path / f"cut.{format_.lower()}").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (tmp_path / "text.jpg").write_text("this is no photo\n" * 5)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    Image.new("F", (4, 4)).save(tmp_path / "float.tif")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cut.jpeg", "cut short"),
        ("cut.png", "cut short"),
        ("text.jpg", "expected a JPEG, PNG.* got an unknown format"),
        ("empty.jpg", "empty"),
        ("folder.jpg", "directory"),
        ("missing.jpg", "No such file"),
        ("float.tif", "floating-point"),
    ],
)
def test_what_is_no_photo_is_one_line_with_its_name(tmp_path, name, says):
    with pytest.raises(InputError, match=says) as caught:
        read_image(bad_files(tmp_path) / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.new("1", (2000, 2000)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with pytest.raises(InputError, match="million pixels"):
        read_image(path)


@pytest.mark.parametrize(
    ("shape", "kind", "remedy"),
    [
        ((4, 4), np.uint8, r"pass PIL\.Image"),
        ((4, 4, 4), np.uint8, r"pass PIL\.Image"),
        ((4, 4), np.float32, "stack three channels"),
        ((3, 4, 5), np.uint8, r"image\.transpose\(1, 2, 0\)"),
        ((4, 4, 3), np.float64, r"\(image \* 255\)"),
        ((4, 4, 3), np.int64, r"image\.astype\(np\.uint8\)"),
        ((0, 4, 3), np.uint8, "it is empty"),
    ],
)
def test_other_arrays_are_refused(shape, kind, remedy):
    with pytest.raises(InputError, match=r"expected \(H, W, 3\) uint8 RGB, got shape .*; " + remedy):
        read_image(np.zeros(shape, kind))


@pytest.mark.parametrize("thing", [3, [[1], [2]], type("Lines", (), {"__repr__": lambda self: "two\nlines"})()])
def test_other_things_are_refused(thing):
    with pytest.raises(InputError, match="image: .*path.* array, got") as caught:
        read_image(thing)
    assert "\n" not in str(caught.value)
